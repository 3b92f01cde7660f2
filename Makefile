# SPDX-License-Identifier: GPL-2.0
#
# The way in: `make run` and `make test` set up all they need. The work is
# done by tools/testing/vm/vm; see its --help for more options.

# Not the first python3 in PATH: python3-rich is for the distribution's.
VM := /usr/bin/python3 tools/testing/vm/vm
VARIANT ?= rust

export DEBIAN_MIRROR KERNEL_SRC

# Knobs of `make run`; unset ones keep the defaults that its --help names.
RUN_KNOBS = $(if $(BYTES),--bytes $(BYTES)) $(if $(FLOWS),--flows $(FLOWS)) \
	$(if $(QUEUES),--queues $(QUEUES)) $(if $(MTU),--mtu $(MTU)) \
	$(if $(IMPL),--impl $(IMPL))

.PHONY: help run test peer gve kasan red tree series kernel programs selftests shell clean distclean bootstrap

help: ## list the targets and knobs
	@awk -F ' *## *' '/^[a-z]+:.*##/ { sub(/:.*/, "", $$1); printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Knobs of run:  BYTES=256M FLOWS=4 QUEUES=2 MTU=1500 IMPL=rust|c"
	@echo "Of test:       IMPL=rust|c MINUTES=80 (leave out what would take longer)"
	@echo "Of red:        ONLY=c|c-fixed|rust ROWS='1 R1' (what is kept of the others stands)"
	@echo "Of kernel and shell:  VARIANT=rust|c|c-fixed|rust-gve-c|c-gve-rust|rust-debug|rust-kasan"
	@echo "Everywhere:    KERNEL_SRC=/a/kernel/tree  DEBIAN_MIRROR=URI"

run: bootstrap ## move a TCP stream into a dma-buf through two emulated gVNICs, and verify it
	@$(VM) run $(RUN_KNOBS)

test: bootstrap ## run all checks and tests; with IMPL= our kselftests on that implementation
	@$(VM) test $(if $(IMPL),--impl $(IMPL)) $(if $(MINUTES),--minutes $(MINUTES))

peer: bootstrap ## run the base's own tests on C and on Rust, and compare
	@$(VM) peer

gve: bootstrap ## test queue management of gve in C and as a module too, and compare its cost
	@$(VM) gve

kasan: bootstrap ## run our kselftests on a kernel that watches its memory
	@$(VM) kasan

red: bootstrap ## try the known defects on C, on C with fixes and on Rust, side by side
	@$(VM) red $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS))

tree: bootstrap ## sync the kernel tree: base, patches, our files
	@$(VM) tree

series: bootstrap ## write mails to send into build/series: fixes of the base, and ours
	@$(VM) series

kernel: bootstrap ## build a kernel
	@$(VM) kernel $(VARIANT)

programs: bootstrap ## build the emulated gVNIC and our tools
	@$(VM) programs

selftests: bootstrap ## build the base's own network selftests
	@$(VM) selftests

shell: bootstrap ## boot to a shell in the guest, with the two NICs
	@$(VM) guest --variant $(VARIANT)

clean: ## remove build/: logs, results, images
	rm -rf build

distclean: clean ## remove the cache as well: build root, sources, objects
	@$(VM) distclean

bootstrap:
	@tools/testing/vm/bootstrap
