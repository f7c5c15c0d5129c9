//! A run: takes the round, and goes on with it step by step until it is done or the run's time is over.

use titanx_receiver::budget::now_ms;

use crate::{
    checks::{Round, Step, random_id},
    error::Error,
    report::{End, Event},
    run::{Healer, Interrupted, RoundJob, Run, RunTime, reset_at},
    settings::ms,
};

impl Healer {
    /// Continues the round, or begins the next one if it is due, in a run that is killed at
    /// `deadline_ms` (Unix milliseconds).
    ///
    /// # Errors
    ///
    /// The next run continues where this one failed.
    pub async fn run(
        &self,
        deadline_ms: i64,
        report: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<End, Error> {
        let stored = self.checks.round().await?;
        let now = now_ms();
        if stored.not_before > now {
            let until = stored.not_before;
            return Ok(End::RateLimited { until });
        }
        if stored.lease_ends >= now {
            return Ok(End::Held);
        }
        let round = match stored.round {
            Some(round) if round.step != Step::Done => round,
            Some(round) if !round.more && now < round.began_at + ms(self.settings.round) => {
                return Ok(End::Idle);
            }
            _ => Round::begin(Step::Find),
        };
        self.run_round(round, deadline_ms, report).await
    }

    /// Checks the job with this id, which was completed at this time (Unix milliseconds), whether it is
    /// due or not. The round is this job's alone, so it has to be remembered where no other is.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub async fn run_job(
        &self,
        (job_id, completed_at): (&str, i64),
        deadline_ms: i64,
        report: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<End, Error> {
        let round = self.checks.round().await?.round;
        let round = if let Some(round) = round {
            round
        } else {
            let job = RoundJob {
                id: job_id.to_owned(),
                completed_at,
            };
            self.checks.write("jobs", &[job]).await?;
            Round::begin(Step::List)
        };
        self.run_round(round, deadline_ms, report).await
    }

    async fn run_round(
        &self,
        mut round: Round,
        deadline_ms: i64,
        report: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<End, Error> {
        let run = Run {
            healer: self,
            owner: random_id(),
            round_id: round.id.clone(),
            time: RunTime::begin(deadline_ms),
            report,
        };
        let (owner, lease_ends) = (&run.owner, run.time.lease_ends);
        if !self.checks.take_round(owner, now_ms(), lease_ends).await? {
            return Ok(End::Held);
        }
        let ended = run.steps(&mut round).await;
        let end = match ended {
            Ok(()) => Ok(End::RoundFinished { more: round.more }),
            Err(Interrupted::OutOfTime) => Ok(End::OutOfTime),
            Err(Interrupted::RateLimited(wait)) => {
                let until = reset_at(wait);
                self.checks.save_round(owner, &round, until).await?;
                Ok(End::RateLimited { until })
            }
            Err(Interrupted::Failed(error)) => Err(error),
        };
        // If this fails after a failed run, the first error says more, and the lease ends by itself.
        let released = self.checks.release_round(owner).await;
        match (end, released) {
            (Ok(_), Err(error)) => Err(error),
            (end, _) => end,
        }
    }
}

impl Run<'_> {
    async fn steps(&self, round: &mut Round) -> Result<(), Interrupted> {
        loop {
            match round.step {
                Step::Find => self.find(round).await?,
                Step::List => self.list(round).await?,
                Step::Compare => self.compare(round).await?,
                Step::Backfill => self.backfill(round).await?,
                Step::Done => return Ok(()),
            }
            self.healer.checks.save_round(&self.owner, round, 0).await?;
        }
    }
}
