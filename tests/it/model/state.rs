//! What there is: the delivery's record, the invocations at work on it, the requests that nobody
//! waits for any more, the queue, and what TitanX knows.

use std::hash::{Hash, Hasher};

/// A day since the event.
pub(super) type Day = u8;

/// The days that matter: the event's own, the last of TitanX's retries, and the first on which a
/// record written on either has expired.
pub(super) const CALENDAR: [Day; 4] = [0, LAST_RETRY, RETENTION + 1, LAST_RETRY + RETENTION + 1];
pub(super) const LAST_RETRY: Day = 3;
/// The last day on which a record written on day 0 has not expired.
pub(super) const RETENTION: Day = 7;

/// Attempts that the SDK makes of one call.
pub(super) const ATTEMPTS: u8 = 2;

/// An invocation's random `claimed_by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner(pub u8);

/// Stands for any owner where names must not count.
const ANYONE: Owner = Owner(u8::MAX);

/// The delivery's item in the deliveries table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    Absent,
    /// `lease` counts the ticks that are left of it on its owner's clock.
    InProgress {
        owner: Owner,
        lease: u8,
        written: Day,
    },
    /// `written` is the day from which `expiration` counts; a record without it would stay for
    /// ever.
    Completed {
        written: Option<Day>,
    },
}

impl Record {
    pub(super) fn is_claimed_by(self, owner: Owner) -> bool {
        matches!(self, Self::InProgress { owner: holder, .. } if holder == owner)
    }
}

/// The call that an invocation is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Claim,
    Send,
    Complete,
    Release,
}

/// An invocation that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Invocation {
    pub owner: Owner,
    pub step: Step,
    /// Attempts left for this call.
    pub attempts: u8,
    /// Ticks left until the platform ends it.
    pub deadline: u8,
}

/// A request to DynamoDB or SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Request {
    Claim {
        owner: Owner,
        lease: u8,
    },
    /// `settled`: when it was sent, a message was there already that nothing allows to be sent
    /// again.
    Send {
        settled: bool,
    },
    Complete {
        owner: Owner,
    },
    Release {
        owner: Owner,
    },
}

impl Request {
    pub(super) fn owner(self) -> Option<Owner> {
        match self {
            Self::Claim { owner, .. } | Self::Complete { owner } | Self::Release { owner } => {
                Some(owner)
            }
            Self::Send { .. } => None,
        }
    }

    fn by(self, owner: Owner) -> Self {
        match self {
            Self::Claim { lease, .. } => Self::Claim { owner, lease },
            Self::Complete { .. } => Self::Complete { owner },
            Self::Release { .. } => Self::Release { owner },
            Self::Send { .. } => self,
        }
    }
}

/// What TitanX knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sender {
    Retrying,
    /// A 200 has reached it: it sends no more.
    Satisfied,
    /// A final 4xx has reached it: it has dropped the event.
    GaveUp,
}

/// One state of the world of one delivery id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub today: Day,
    pub record: Record,
    pub invocations: Vec<Invocation>,
    /// Requests that their sender has given up, or left behind in dying, and that may still take
    /// effect.
    pub under_way: Vec<Request>,
    pub sender: Sender,
    /// The day in the latest `timestamp` that TitanX has sent.
    pub stamped: Day,
    /// A 200 has left, whether or not it reached TitanX.
    pub acknowledged: bool,
    /// The event is in the quarantine queue.
    pub parked: bool,
    /// Messages on the contacts queue; 2 stands for any more.
    pub messages: u8,
    pub history: History,
}

/// What only the promises ask about: nobody in the world sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// A message is on the queue that nothing allows to be sent again: its send was answered, and
    /// afterwards its completion mark was written in its sender's life, or its sender ended by
    /// itself without asking for one.
    pub settled: bool,
    /// A message has joined one that nothing allowed to be sent again.
    pub unexplained: bool,
    /// A release has deleted a completed record.
    pub completed_deleted: bool,
}

impl State {
    /// Before TitanX's first attempt.
    pub(super) fn at_first() -> Self {
        Self {
            today: CALENDAR[0],
            record: Record::Absent,
            invocations: Vec::new(),
            under_way: Vec::new(),
            sender: Sender::Retrying,
            stamped: CALENDAR[0],
            acknowledged: false,
            parked: false,
            messages: 0,
            history: History::default(),
        }
    }

    /// The event is where nothing can lose it.
    pub(super) fn is_durable(&self) -> bool {
        self.messages > 0 || self.parked
    }

    /// Nothing runs, nothing is under way, and no lease has time left.
    pub(super) fn is_at_rest(&self) -> bool {
        let leased = matches!(self.record, Record::InProgress { lease: 1.., .. });
        self.invocations.is_empty() && self.under_way.is_empty() && !leased
    }

    pub(super) fn find(&self, owner: Owner) -> Option<Invocation> {
        self.invocations
            .iter()
            .find(|invocation| invocation.owner == owner)
            .copied()
    }

    /// A living invocation has sent its message and is at its completion mark: it is about to ask
    /// for it, or has done so.
    pub(super) fn is_being_marked(&self) -> bool {
        self.invocations
            .iter()
            .any(|invocation| invocation.step == Step::Complete)
    }

    pub(super) fn is_marking(&self, owner: Owner) -> bool {
        self.find(owner)
            .is_some_and(|invocation| invocation.step == Step::Complete)
    }

    pub(super) fn end(&mut self, owner: Owner) {
        self.invocations
            .retain(|invocation| invocation.owner != owner);
    }

    pub(super) fn go_to(&mut self, owner: Owner, step: Step) {
        let invocation = self.living(owner);
        invocation.step = step;
        invocation.attempts = ATTEMPTS;
    }

    pub(super) fn living(&mut self, owner: Owner) -> &mut Invocation {
        let mut all = self.invocations.iter_mut();
        all.find(|invocation| invocation.owner == owner)
            .expect("only the living act")
    }

    /// A name of which no trace is left.
    pub(super) fn unused_owner(&self) -> Owner {
        let used = self.owners();
        let mut names = (0..ANYONE.0).map(Owner);
        names
            .find(|owner| !used.contains(owner))
            .expect("there are more names than traces")
    }

    fn owners(&self) -> Vec<Owner> {
        let living = self.invocations.iter().map(|invocation| invocation.owner);
        let left_behind = self.under_way.iter().filter_map(|request| request.owner());
        let mut owners: Vec<_> = living.chain(left_behind).collect();
        if let Record::InProgress { owner, .. } = self.record {
            owners.push(owner);
        }
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// All that the state says of an owner, but for its name.
    fn about(&self, owner: Owner) -> (Option<Invocation>, bool, Vec<Request>) {
        let living = self.find(owner).map(|found| Invocation {
            owner: ANYONE,
            ..found
        });
        let left_behind = self
            .under_way
            .iter()
            .filter(|request| request.owner() == Some(owner));
        let mut left_behind: Vec<_> = left_behind.map(|request| request.by(ANYONE)).collect();
        left_behind.sort_unstable();
        (living, self.record.is_claimed_by(owner), left_behind)
    }
}

/// The checker knows a state again by its hash. Owners are random and only ever compared, so states
/// that differ in nothing but their names are one, and the hash leaves the names out.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut everyone: Vec<_> = self
            .owners()
            .into_iter()
            .map(|owner| self.about(owner))
            .collect();
        everyone.sort_unstable();
        everyone.hash(hasher);
        let mut sends: Vec<_> = self
            .under_way
            .iter()
            .filter(|request| request.owner().is_none())
            .collect();
        sends.sort_unstable();
        sends.hash(hasher);
        let record = match self.record {
            Record::InProgress { lease, written, .. } => Record::InProgress {
                owner: ANYONE,
                lease,
                written,
            },
            unowned => unowned,
        };
        (self.today, record, self.sender, self.stamped).hash(hasher);
        (self.acknowledged, self.parked, self.messages, self.history).hash(hasher);
    }
}
