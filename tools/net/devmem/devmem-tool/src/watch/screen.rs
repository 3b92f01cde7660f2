// SPDX-License-Identifier: GPL-2.0
//! How `watch` shows a look: a table on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use comfy_table::ContentArrangement;
use common::table;
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::rates::Counted;
use super::{WatchOutput, Watched};
use crate::text::{bar, bytes, list, or_dash, owner, usage};

/// Holders that are named for each binding.
const HOLDERS: usize = 3;
/// Characters of the bar, where there is room.
const BAR: usize = 20;

/// How often a signal is looked for.
const SIGNAL_POLL: Duration = Duration::from_millis(200);

/// The terminal, as it was before once this is dropped.
pub struct Screen {
    /// A signal asked for the end.
    ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            flag::register(signal, ended.clone())?;
        }
        terminal::enable_raw_mode()?;
        let this = Self { ended };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(this)
    }

    /// Draws.
    pub fn show(&self, output: &WatchOutput) -> io::Result<()> {
        let (width, height) = match terminal::size()? {
            // A terminal that does not know.
            (0, _) | (_, 0) => (80, 24),
            size => size,
        };
        let mut out = io::stdout().lock();
        queue!(out, cursor::MoveTo(0, 0))?;
        let text = render(output, width);
        for (row, line) in text.lines().take(usize::from(height)).enumerate() {
            let row = u16::try_from(row).unwrap_or(u16::MAX);
            queue!(out, cursor::MoveTo(0, row))?;
            let line: String = line.chars().take(usize::from(width)).collect();
            out.write_all(line.as_bytes())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }

    /// Waits; true if the user wants to leave. Draws again when the size of
    /// the terminal changes.
    pub fn wait(&self, time: Duration, output: &WatchOutput) -> io::Result<bool> {
        let end = Instant::now() + time;
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return Ok(true);
            }
            let rest = end.saturating_duration_since(Instant::now());
            if !event::poll(rest.min(SIGNAL_POLL))? {
                if rest <= SIGNAL_POLL {
                    return Ok(false);
                }
                continue;
            }
            match event::read()? {
                Event::Key(key) => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                        KeyCode::Char('c') if control => return Ok(true),
                        _ => {}
                    }
                }
                Event::Resize(..) => self.show(output)?,
                _ => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// A line for each binding.
pub fn print_lines(output: &WatchOutput) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if output.bindings.is_empty() {
        writeln!(out, "{:8.2} s  no bindings", output.seconds)?;
    }
    for watched in &output.bindings {
        writeln!(out, "{:8.2} s  {}", output.seconds, line(watched))?;
    }
    out.flush()
}

fn line(watched: &Watched) -> String {
    let binding = &watched.binding;
    let mut text = format!(
        "id {}  {} queues {}  {}  niovs used {} [{}]",
        binding.id,
        binding.place(),
        list(&binding.queues),
        speed(watched),
        usage(&binding.niovs),
        bar(&binding.niovs, BAR),
    );
    if let Some(failures) = watched.rates.alloc_failures.filter(|rate| *rate > 0.0) {
        let _ = write!(text, "  {failures:.0} failed allocations/s");
    }
    for holder in holders(watched) {
        let _ = write!(text, "  {holder}");
    }
    text
}

fn speed(watched: &Watched) -> String {
    let Some(rate) = watched.rates.bytes else {
        return "-".into();
    };
    // A rate is not negative, and a float that is too large becomes the most.
    let text = format!("{}/s", bytes(rate as u64));
    match watched.rates.counted {
        Counted::Queues => format!("{text} (queues)"),
        _ => text,
    }
}

/// Those who hold most, with how much and for how long.
fn holders(watched: &Watched) -> Vec<String> {
    let mut sockets: Vec<_> = watched.binding.sockets.iter().flatten().collect();
    sockets.sort_by_key(|socket| std::cmp::Reverse(socket.tokens));
    let more = sockets.len().saturating_sub(HOLDERS);
    let mut lines: Vec<String> = sockets
        .iter()
        .take(HOLDERS)
        .map(|socket| {
            format!(
                "{} {} for {:.0} s",
                socket.tokens,
                owner(socket),
                socket.oldest_seconds
            )
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn render(output: &WatchOutput, width: u16) -> String {
    let mut table = table(&[
        "id",
        "device",
        "queues",
        "received",
        "frags/s",
        "niovs used",
        "",
        "failed/s",
        "held by",
    ]);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    // What is left beside the other columns.
    let cells = usize::from(width.saturating_sub(100)).clamp(6, BAR);
    for watched in &output.bindings {
        let binding = &watched.binding;
        let rate = |rate: Option<f64>| or_dash(rate.map(|rate| format!("{rate:.0}")));
        let held = holders(watched);
        table.add_row([
            binding.id.to_string(),
            binding.place(),
            list(&binding.queues),
            speed(watched),
            rate(watched.rates.frags),
            usage(&binding.niovs),
            bar(&binding.niovs, cells),
            rate(watched.rates.alloc_failures),
            if held.is_empty() {
                "-".into()
            } else {
                held.join("\n")
            },
        ]);
    }
    let mut text = format!("devmem watch, {:.0} s; q ends\n", output.seconds);
    if output.bindings.is_empty() {
        text.push_str("no bindings\n");
    } else {
        let _ = writeln!(text, "{table}");
        text.push_str("# out  + idle in page pools  . free\n");
    }
    for source in &output.sources {
        if let Some(missing) = &source.missing {
            let _ = writeln!(text, "{missing}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::tests::sample;
    use crate::watch::rates::Rates;

    fn output(tokens: &[u64]) -> WatchOutput {
        let mut binding = sample();
        let sockets = binding.sockets.as_mut().unwrap();
        let socket = sockets.pop().unwrap();
        sockets.extend(tokens.iter().map(|&tokens| {
            let mut socket = socket.clone();
            socket.tokens = tokens;
            socket
        }));
        WatchOutput {
            schema: 1,
            seconds: 2.0,
            bindings: vec![Watched {
                binding,
                rates: Rates {
                    bytes: Some(3.0 * 1024.0 * 1024.0),
                    counted: Counted::Payload,
                    frags: Some(768.0),
                    alloc_failures: Some(2.0),
                },
            }],
            sources: vec![],
        }
    }

    #[test]
    fn a_line_has_speed_occupancy_and_who_holds_most() {
        let output = output(&[1, 200, 30, 4, 5]);
        let text = line(&output.bindings[0]);
        for part in [
            "id 3",
            "3 MiB/s",
            "400/1000 (40 %)",
            "[######++............]",
            "2 failed",
            "200 socket:[5] for 7 s  30 socket:[5] for 7 s  5 socket:[5] for 7 s  and 2 more",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\n'));
    }

    #[test]
    fn queues_that_count_are_named() {
        let mut output = output(&[]);
        output.bindings[0].rates.counted = Counted::Queues;
        assert!(line(&output.bindings[0]).contains("MiB/s (queues)"));
        output.bindings[0].rates.bytes = None;
        assert_eq!(speed(&output.bindings[0]), "-");
    }

    #[test]
    fn the_table_keeps_to_the_width() {
        for width in [80, 120] {
            let text = render(&output(&[1, 2]), width);
            for line in text.lines() {
                assert!(
                    line.chars().count() <= usize::from(width),
                    "{width}: {line}"
                );
            }
        }
        let text = render(&output(&[1, 2]), 160);
        assert!(text.contains("3 MiB/s") && text.contains("768"), "{text}");
    }
}
