//! A path through the model, told line by line.

use std::collections::BTreeMap;
use std::fmt::Write;

use stateright::Path;

use super::promises::undisturbed_retry;
use super::protocol::{Answer, Consequence, Reply};
use super::state::{Day, Invocation, Owner, Request, Sender, State, Step};
use super::world::{Action, Attempt, Fate, World};

/// Every action of the path and what followed from it.
pub(super) fn tell(world: &World, path: Path<State, Action>) -> Vec<String> {
    let mut teller = Teller::default();
    teller.tell_path(world, path);
    teller.lines
}

/// The same, and what an undisturbed retry comes to where the path ends.
pub(super) fn tell_with_retry(world: &World, path: Path<State, Action>) -> Vec<String> {
    let mut teller = Teller::default();
    let end = path.last_state().clone();
    teller.tell_path(world, path);
    if end.sender == Sender::Retrying {
        teller.tell_retry(world, end);
    }
    teller.lines
}

/// Gives every invocation a letter of its own: the model uses an owner's name again once no trace
/// of it is left.
#[derive(Default)]
struct Teller {
    letters: BTreeMap<Owner, char>,
    invocations: u8,
    lines: Vec<String>,
}

impl Teller {
    fn tell_path(&mut self, world: &World, path: Path<State, Action>) {
        for (state, action) in path.into_vec() {
            if let Some(action) = action {
                self.tell(&state, action, &world.happen(&state, action));
            }
        }
    }

    fn tell(&mut self, before: &State, action: Action, then: &Consequence) {
        let text = self.action(before, action);
        let reply = then
            .reply
            .map(|reply| format!(": {}", reply_text(reply)))
            .unwrap_or_default();
        let answer = then
            .answer
            .map(|answer| format!(", answers {}", answer_text(answer)))
            .unwrap_or_default();
        let ended = if action == Action::Tick {
            self.ended(before, &then.state)
        } else {
            String::new()
        };
        self.lines.push(text + &reply + &answer + &ended);
    }

    fn tell_retry(&mut self, world: &World, at_rest: State) {
        let told = self.lines.len();
        let mut before = at_rest;
        for (action, consequence) in undisturbed_retry(world, &before) {
            self.tell(&before, action, &consequence);
            before = consequence.state;
        }
        for line in &mut self.lines[told..] {
            line.insert_str(0, "retry: ");
        }
    }

    fn action(&mut self, before: &State, action: Action) -> String {
        match action {
            Action::Deliver {
                stamped, attempt, ..
            } => self.delivery(before, stamped) + &attempt_text(attempt),
            Action::Call { owner, attempt } => {
                let step = before.find(owner).expect("only the living call").step;
                format!(
                    "{} {}{}",
                    self.letter(owner),
                    verb(step),
                    attempt_text(attempt)
                )
            }
            Action::Kill(owner) => format!("{} is killed", self.letter(owner)),
            Action::Land(request) => format!("{} lands", self.request(request)),
            Action::Vanish(request) => format!("{} is lost", self.request(request)),
            Action::AnswerArrives => "TitanX receives the 200".into(),
            Action::Tick => "tick".into(),
            Action::DaysPass => "days pass".into(),
            Action::TtlRemoves => "TTL removes the record".into(),
        }
    }

    fn delivery(&mut self, before: &State, stamped: Day) -> String {
        let letter = char::from(b'A' + self.invocations);
        self.invocations += 1;
        self.letters.insert(before.unused_owner(), letter);
        match before.today {
            0 => format!("{letter} claims"),
            today => format!("on day {today} {letter}, stamped day {stamped}, claims"),
        }
    }

    fn request(&self, request: Request) -> String {
        match request {
            Request::Claim { owner, .. } => format!("{}'s late claim", self.letter(owner)),
            Request::Send { .. } => "a late send".into(),
            Request::Complete { owner } => format!("{}'s late completion", self.letter(owner)),
            Request::Release { owner } => format!("{}'s late release", self.letter(owner)),
        }
    }

    fn ended(&self, before: &State, after: &State) -> String {
        let mut text = String::new();
        for Invocation { owner, .. } in &before.invocations {
            if after.find(*owner).is_none() {
                let _ = write!(text, ", {} is ended", self.letter(*owner));
            }
        }
        text
    }

    fn letter(&self, owner: Owner) -> char {
        self.letters[&owner]
    }
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Claim => "claims",
        Step::Send => "sends",
        Step::Complete => "completes",
        Step::Release => "releases",
    }
}

fn attempt_text(attempt: Attempt) -> String {
    let fate = match attempt.fate {
        Fate::Answered => "",
        Fate::AnswerLost => ", answer lost",
        Fate::Refused => ", refused",
        Fate::Late => ", late",
    };
    match attempt.ahead {
        0 => fate.into(),
        ahead => format!(" by a clock {ahead} ahead{fate}"),
    }
}

fn reply_text(reply: Reply) -> &'static str {
    match reply {
        Reply::Claimed => "claimed",
        Reply::TookOver => "taken over",
        Reply::AlreadyOurs => "already ours",
        Reply::HeldByAnother => "held by another",
        Reply::AlreadyCompleted => "already completed",
        Reply::FirstMessage => "first message",
        Reply::AnotherMessage => "another message",
        Reply::Marked => "completed",
        Reply::MarkedForEver => "completed for ever",
        Reply::Released => "released",
        Reply::NothingToRelease => "nothing to release",
        Reply::DeletedCompleted => "a completed record is deleted",
    }
}

fn answer_text(answer: Answer) -> &'static str {
    match answer {
        Answer::Accepted => "200",
        Answer::Duplicate => "200 duplicate",
        Answer::Quarantined => "200 quarantined",
        Answer::Held => "429",
        Answer::Conflict => "409",
        Answer::Unavailable => "503",
    }
}
