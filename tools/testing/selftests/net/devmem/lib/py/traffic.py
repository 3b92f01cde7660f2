# SPDX-License-Identifier: GPL-2.0

"""
Connections that stay busy by themselves while a test does something else to
them: one thread sends on all of them, receives, verifies and gives back.
"""

import socket
import threading

from .leftover import wait_for
from .pattern import pattern

# Bytes of one send(), and at most of one recvmsg().
CHUNK = 1 << 15
# Seconds between two rounds: leaves the CPU to what is under test.
PAUSE = 0.005

TCP_RTO_MAX_MS, TCP_RTO_MIN_US = 44, 45


class Flow:
    """
    One connection.

    Attributes:
      receiver: a Receiver
      sender: the socket at the other end
      held: tokens that are kept; the first ones of the stream
      lock: for whoever touches the above while the traffic runs
    """

    def __init__(self, receiver, sender, keep=0):
        self.receiver = receiver
        self.sender = sender
        self.held = []
        self.lock = threading.Lock()
        self._keep = keep
        self._sent = 0
        self._chunk = memoryview(b"")
        self._reading = True
        self._sending = True
        sender.setblocking(False)
        # notice an outage soon, and its end within a second
        sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MIN_US, 20000)
        sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)

    def step(self):
        """Send a little, receive a little."""
        if self._sending:
            self._send()
        if self._reading:
            self._receive()

    def _send(self):
        if not self._chunk:
            self._chunk = memoryview(pattern(self._sent, CHUNK))
        try:
            done = self.sender.send(self._chunk)
        except BlockingIOError:
            return
        except OSError:
            # only close_receiver() may make the other end refuse
            if self._reading:
                raise
            self._sending = False
            return
        self._sent += done
        self._chunk = self._chunk[done:]

    def _receive(self):
        receiver = self.receiver
        try:
            receiver.take(receiver.recvmsg(CHUNK, flags=socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        more = self._keep - len(self.held)
        if more > 0:
            self.held += receiver.tokens[:more]
            del receiver.tokens[:more]
        receiver.release()

    @property
    def drained(self):
        """All that was sent has been received."""
        return self.receiver.position == self._sent

    def pause(self):
        """Send no more for now; what is under way still arrives."""
        with self.lock:
            self._sending = False

    def resume(self):
        """Send again."""
        with self.lock:
            self._sending = True

    def release_held(self):
        """Give back all tokens that were kept, and keep no more."""
        with self.lock:
            self._keep = 0
            self.receiver.tokens += self.held
            self.held = []
            self.receiver.release()

    def close_receiver(self):
        """Close the receiving socket; its tokens go with it."""
        with self.lock:
            self._reading = False
            self.held = []
            self.receiver.sock.close()

    def close(self):
        """Close both ends."""
        self.close_receiver()
        with self.lock:
            self._sending = False
            self.sender.close()


class Traffic(threading.Thread):
    """Keeps flows busy from start to stop()."""

    def __init__(self, flows):
        super().__init__(daemon=True)
        self._flows = flows
        self._stop = threading.Event()
        self._error = None
        self.start()

    def run(self):
        try:
            while not self._stop.wait(PAUSE):
                for flow in self._flows:
                    with flow.lock:
                        flow.step()
        except Exception as error:             # pylint: disable=W0718
            self._error = error

    def check(self):
        """Raise what went wrong."""
        if self._error:
            raise self._error

    def wait(self, condition, deadline, what):
        """Wait until @condition; fails when it does not come true."""
        def done():
            self.check()
            return condition()
        if not wait_for(done, deadline):
            raise TimeoutError(f"{what} after {deadline} s")

    def wait_progress(self, flows, size, deadline=60):
        """Wait until each of @flows has received @size bytes more."""
        goals = [(flow, flow.receiver.position + size) for flow in flows]

        def late():
            return [f"{flow.receiver.position} of {goal} bytes"
                    for flow, goal in goals if flow.receiver.position < goal]

        try:
            self.wait(lambda: not late(), deadline, "")
        except TimeoutError:
            raise TimeoutError(f"no progress in {deadline} s: {late()}") \
                from None

    def drain(self, deadline=60):
        """Let all that is under way arrive, then go on."""
        for flow in self._flows:
            flow.pause()
        self.wait(lambda: all(flow.drained for flow in self._flows), deadline,
                  "data is missing")
        for flow in self._flows:
            flow.resume()

    def stop(self):
        """End the traffic; raises what went wrong."""
        self._stop.set()
        self.join(30)
        self.check()
