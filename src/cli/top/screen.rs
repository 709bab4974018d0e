//! The full screen: what keys do, and what is drawn.

use std::io::{self, Write as _};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, TopError};
use super::model::{Look, Model, View};
use super::table::{Order, Target};
use super::units::cut;

/// The keys, in one line.
const KEYS: &str = "1-4, Tab: lists   ↑↓: choose   < >: sort   r: turn around   k: kick   q: quit";

/// The terminal, as long as it is ours. Gives it back when dropped.
struct Terminal;

/// What comes back from the server.
enum Answer {
    Look(View, Result<Look, TopError>),
    Kick(Target, Result<(), TopError>),
}

/// What is on the screen.
struct Screen {
    url: String,
    model: Model,
    view: View,
    order: Order,
    /// The chosen row, and how many rows there are.
    chosen: usize,
    rows: usize,
    /// The first row that is drawn.
    top: usize,
    /// What is asked about: to kick it?
    asking: Option<Target>,
    /// What the last line says instead of the keys.
    said: Option<String>,
    /// Why the numbers are old.
    trouble: Option<String>,
}

/// How a line looks.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Bold,
    Reverse,
    Bad,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Look,
    Kick(Target),
    Quit,
}

/// Shows a server until the user quits.
///
/// # Errors
/// If the server can't be asked the first time, or the terminal is no good. Later the screen says what
/// is wrong, and asks again.
pub(super) async fn show(client: &Client, every: Duration) -> Result<(), TopError> {
    let mut screen = Screen::new(client.url());
    screen.model.take(client.look(&[screen.view]).await?);
    let _terminal = Terminal::take()?;
    let mut events = EventStream::new();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut jobs = JoinSet::new();
    let mut is_looking = false;
    loop {
        screen.draw()?;
        let wish = tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => screen.key(key),
                Some(Ok(_)) => Wish::Nothing,
                Some(Err(error)) => return Err(error.into()),
                None => Wish::Quit,
            },
            _ = ticks.tick(), if !is_looking => Wish::Look,
            Some(Ok(answer)) = jobs.join_next() => {
                is_looking &= !matches!(answer, Answer::Look(..));
                screen.take(answer)
            }
        };
        let (client, view) = (client.clone(), screen.view);
        match wish {
            Wish::Nothing => {}
            Wish::Look => {
                is_looking = true;
                jobs.spawn(async move { Answer::Look(view, client.look(&[view]).await) });
            }
            Wish::Kick(target) => {
                jobs.spawn(async move {
                    let kicked = client.kick(&target).await;
                    Answer::Kick(target, kicked)
                });
            }
            Wish::Quit => return Ok(()),
        }
    }
}

impl Terminal {
    fn take() -> io::Result<Self> {
        // A panic's words belong on the terminal as it was.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        terminal::enable_raw_mode()?;
        let taken = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(taken)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = terminal::disable_raw_mode();
}

impl Screen {
    fn new(url: String) -> Self {
        Self {
            url,
            model: Model::default(),
            view: View::Endpoints,
            order: Order::FIRST,
            chosen: 0,
            rows: 0,
            top: 0,
            asking: None,
            said: None,
            trouble: None,
        }
    }

    fn take(&mut self, answer: Answer) -> Wish {
        match answer {
            Answer::Look(view, Ok(look)) => {
                self.model.take(look);
                self.trouble = None;
                // Another table has been wanted since.
                if view != self.view {
                    return Wish::Look;
                }
            }
            Answer::Look(_, Err(error)) => self.trouble = Some(error.to_string()),
            Answer::Kick(target, Ok(())) => {
                self.said = Some(format!("kicked {}", target.name));
                return Wish::Look;
            }
            Answer::Kick(target, Err(error)) => {
                self.said = Some(format!("could not kick {}: {error}", target.name));
            }
        }
        Wish::Nothing
    }

    fn key(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Wish::Quit;
        }
        self.said = None;
        if let Some(target) = self.asking.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Wish::Kick(target),
                _ => Wish::Nothing,
            };
        }
        let last = self.rows.saturating_sub(1);
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Tab => return self.turn_to(1),
            KeyCode::BackTab => return self.turn_to(View::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='4') => {
                let wanted = View::ALL.into_iter().zip('1'..).find(|it| it.1 == digit);
                return wanted.map_or(Wish::Nothing, |(view, _)| self.show(view));
            }
            KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            KeyCode::PageUp => self.chosen = self.chosen.saturating_sub(10),
            KeyCode::PageDown => self.chosen = (self.chosen + 10).min(last),
            KeyCode::Home => self.chosen = 0,
            KeyCode::End => self.chosen = last,
            KeyCode::Char('>') | KeyCode::Right => self.sort_by(1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_by(self.view.columns().len() - 1),
            KeyCode::Char('r') => self.order.down = !self.order.down,
            KeyCode::Char('k') => self.ask(),
            _ => {}
        }
        Wish::Nothing
    }

    /// Goes to another table, so many further.
    fn turn_to(&mut self, further: usize) -> Wish {
        let at = View::ALL.iter().position(|view| *view == self.view);
        let next = (at.unwrap_or(0) + further) % View::ALL.len();
        View::ALL
            .get(next)
            .map_or(Wish::Nothing, |view| self.show(*view))
    }

    fn show(&mut self, view: View) -> Wish {
        (self.view, self.order) = (view, Order::FIRST);
        (self.chosen, self.top) = (0, 0);
        Wish::Look
    }

    /// Sorts by another column, so many further; numbers from the greatest down.
    fn sort_by(&mut self, further: usize) {
        let columns = self.view.columns();
        let column = (self.order.column + further) % columns.len();
        let down = columns.get(column).is_some_and(|(_, is_number)| *is_number);
        self.order = Order { column, down };
    }

    fn ask(&mut self) {
        let mut table = self.model.table(self.view, self.order);
        if self.chosen < table.rows.len() {
            self.asking = table.rows.swap_remove(self.chosen).target;
            if self.asking.is_none() {
                self.said = Some("kick it among the endpoints: press 1".to_owned());
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let lines = self.lines(width.into(), height.into());
        let mut out = Vec::new();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, (text, style)) in (0..).zip(&lines) {
            queue!(out, MoveTo(0, row))?;
            match style {
                Style::Plain => {}
                Style::Bold => queue!(out, SetAttribute(Attribute::Bold))?,
                Style::Reverse => queue!(out, SetAttribute(Attribute::Reverse))?,
                Style::Bad => queue!(out, SetForegroundColor(Color::Red))?,
            }
            queue!(
                out,
                Print(text),
                SetAttribute(Attribute::Reset),
                ResetColor,
                Clear(ClearType::UntilNewLine)
            )?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }

    /// Every line of a screen of this size.
    fn lines(&mut self, width: usize, height: usize) -> Vec<(String, Style)> {
        let table = self.model.table(self.view, self.order);
        self.rows = table.rows.len();
        self.chosen = self.chosen.min(self.rows.saturating_sub(1));
        let (head, rows) = table.lines(Some(self.order), width);

        let above = self.model.head(&self.url).into_iter();
        let mut lines: Vec<_> = above.map(|line| (line, Style::Plain)).collect();
        if let Some((_, style)) = lines.first_mut() {
            *style = Style::Bold;
        }
        if let Some(trouble) = &self.trouble {
            lines.push((format!("{trouble} (trying again)"), Style::Bad));
        }
        let tabs = View::ALL.into_iter().zip(1..).map(|(view, key)| {
            let text = format!("{key} {} {}", view.name(), self.model.count(view));
            match view == self.view {
                true => format!("[{text}]"),
                false => format!(" {text} "),
            }
        });
        lines.push((tabs.collect::<Vec<_>>().join(" "), Style::Plain));
        lines.push((head, Style::Bold));

        let room = height.saturating_sub(lines.len() + 1).max(1);
        self.top = self
            .top
            .min(self.chosen)
            .max((self.chosen + 1).saturating_sub(room));
        let shown = rows.into_iter().enumerate().skip(self.top).take(room);
        lines.extend(shown.map(|(at, row)| match at == self.chosen {
            true => (format!("{row:width$}"), Style::Reverse),
            false => (row, Style::Plain),
        }));
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), (String::new(), Style::Plain));
        lines.push(match (&self.asking, &self.said) {
            (Some(target), _) => (
                format!("Kick {}? y: yes, any other key: no", target.name),
                Style::Bold,
            ),
            (None, Some(said)) => (said.clone(), Style::Bold),
            (None, None) => (KEYS.to_owned(), Style::Plain),
        });
        for (line, _) in &mut lines {
            *line = cut(line, width);
        }
        lines
    }
}
