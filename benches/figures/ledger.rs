//! New ledgers, each in the state in which a measurement starts.

use chrono::NaiveDate;

use crate::Error;
use crate::postgres;
use crate::process::{Daybook, Terms};
use crate::setting::{PREFIX, Setting, Size};

/// Which ledger to make.
pub struct Fresh {
    /// The workload that is its source.
    pub size: Size,
    pub terms: Terms,
    /// The prefix of its indices.
    pub prefix: &'static str,
}

impl Fresh {
    pub fn of(size: Size) -> Self {
        Self {
            size,
            terms: Terms::Default,
            prefix: PREFIX,
        }
    }

    pub fn without_terms(size: Size) -> Self {
        Self {
            terms: Terms::None,
            ..Self::of(size)
        }
    }

    /// A ledger with one entry, for the day before, and with indices. This is the state after the first daily run, so no
    /// measurement has to create indices or catch up.
    pub async fn before(&self, setting: &Setting, day: NaiveDate) -> Result<Daybook, Error> {
        let daybook = Daybook {
            source_url: setting.source(self.size)?,
            ledger_url: setting.database("ledger")?,
            elasticsearch_url: setting.elastic.url().to_owned(),
            prefix: self.prefix.to_owned(),
            terms: self.terms,
        };
        postgres::create(&daybook.ledger_url).await?;
        setting
            .elastic
            .delete(&format!("{0}-g*,{0}-totals-g*,{0}-terms-g*", self.prefix))
            .await?;
        daybook.run(&["migrate"])?;
        let day_before = day.pred_opt().ok_or("there is no day before")?;
        daybook.run(&["apply", "--day", &day_before.to_string()])?;
        postgres::settle(&daybook.ledger_url).await?;
        Ok(daybook)
    }
}
