//! A query that goes back to Postgres by itself, and who is told of it.

use chrono::Utc;

use super::{Service, certify::SELF};
use crate::{
    alert::Alert,
    error::Result,
    rollout::{Edit, Hold, HoldReason},
    telemetry,
};

impl Service {
    /// Sends a query back to Postgres, and tells somebody, unless it has been sent there already.
    pub(super) async fn trip(&self, query: &str, reason: HoldReason, detail: String) {
        let Some(rollouts) = &self.0.rollouts else { return };
        let Ok(default) = self.rollout_default() else { return };
        let hold = Hold::new(reason, detail.clone(), Utc::now());
        match rollouts
            .change(Edit::Hold(query.to_owned(), hold, default), SELF, "by itself: the reason is with the hold")
            .await
        {
            Ok((_, true)) => {
                telemetry::tripped(reason.name());
                self.alert(query, reason, &detail, false);
            }
            Ok((_, false)) => {}
            Err(error) => {
                tracing::error!(query, error = %error.chain(), "a query that should go back to PostgreSQL cannot be sent there");
            }
        }
    }

    /// Tells somebody; not before this returns.
    pub(super) fn alert(&self, query: &str, reason: HoldReason, detail: &str, repeated: bool) {
        let Some(rollouts) = &self.0.rollouts else { return };
        let still = if repeated { "is still" } else { "is" };
        let alert = Alert {
            text: format!("Pilaster: {query} {still} answered by PostgreSQL, because {reason}: {detail}"),
            query: query.to_owned(),
            reason: reason.name(),
            repeated,
        };
        let alerts = rollouts.parts.alerts.clone();
        tokio::spawn(async move { alerts.tell(&alert).await });
    }

    /// Tells again of what nobody has seen. One node of many does: the one whose change of the rollout comes first.
    pub(super) async fn tell_again(&self) -> Result<()> {
        let Some(rollouts) = &self.0.rollouts else { return Ok(()) };
        let after = rollouts.parts.alert_again;
        if after.is_zero() {
            return Ok(());
        }
        let now = Utc::now();
        let is_due = |hold: &&Hold| {
            hold.acknowledged.is_none() && (now - hold.told_at).to_std().is_ok_and(|waited| waited >= after)
        };
        let rollout = self.rollout()?;
        for (query, said) in &rollout.queries {
            let Some(hold) = said.hold.as_ref().filter(is_due) else { continue };
            let (_, changed) =
                rollouts.change_once(Edit::Tell(query.clone()), SELF, "nobody has said that it is seen").await?;
            if changed {
                self.alert(query, hold.reason, &hold.detail, true);
            }
        }
        Ok(())
    }
}
