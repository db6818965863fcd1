//! Generates the workloads of the bench: events shaped like the published day. The same seed gives the same events.
//!
//! `cargo bench --bench workload -- DAY SIZE [SEED [DAYS]]` fills the source tables in the database of
//! DAYBOOK_LEDGER_URL, from DAY on. SIZE 1 is the workload M: 140,000 events, 5 M interactions, some 250 MB of payload
//! per day. SIZE 0.002 is a day like the published one.

#![expect(clippy::print_stdout, reason = "it prints what it did")]

use std::error::Error;
use std::fmt::Write as _;

use chrono::NaiveDate;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{Connection as _, PgConnection};

const SOURCE_TABLES: &str = include_str!("../example-objects/source-tables.sql");

const RECORDSETS: usize = 1615;
const GEOCODES: u32 = 3000;
const QUERIES: i64 = 20_000;
/// The numbers of events at SIZE 1: broad events (searches, mappings, downloads), seen events, views.
const BROAD: u32 = 20_000;
const SEEN: u32 = 20_000;
const VIEWS: u32 = 100_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // cargo adds --bench to the arguments.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let first_day: NaiveDate = arguments
        .next()
        .ok_or("usage: workload DAY SIZE [SEED [DAYS]]")?
        .parse()?;
    let size: f64 = arguments
        .next()
        .ok_or("usage: workload DAY SIZE [SEED [DAYS]]")?
        .parse()?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    let days: u64 = arguments.next().map_or(Ok(1), |days| days.parse())?;
    let url = std::env::var("DAYBOOK_LEDGER_URL").map_err(|_| "set DAYBOOK_LEDGER_URL")?;
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql("SET search_path = public")
        .execute(&mut connection)
        .await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('stats') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        sqlx::raw_sql(SOURCE_TABLES)
            .execute(&mut connection)
            .await?;
    }
    sqlx::query("INSERT INTO queries SELECT n, md5(n::text) || left(md5(-n || ''), 8) FROM generate_series(1, $1) n ON CONFLICT DO NOTHING")
        .bind(QUERIES)
        .execute(&mut connection)
        .await?;
    let first_id: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM stats")
        .fetch_one(&mut connection)
        .await?;
    let mut maker = Maker::new(seed);
    let mut copy = connection
        .copy_in_raw(
            "COPY stats (id, date, type, record_type, payload, ip_geocode, query_id) FROM STDIN",
        )
        .await?;
    let (mut lines, mut bytes, mut id) = (String::new(), 0, first_id);
    for day in first_day.iter_days().take(usize::try_from(days)?) {
        let kinds = maker.kinds(size);
        for (place, kind) in (0_u32..).zip(&kinds) {
            let share = f64::from(place) / f64::from(u32::try_from(kinds.len())?);
            maker.line(&mut lines, id, day, share, *kind)?;
            id += 1;
            if lines.len() > 1 << 20 {
                bytes += lines.len();
                copy.send(lines.as_bytes()).await?;
                lines.clear();
            }
        }
    }
    bytes += lines.len();
    copy.send(lines.as_bytes()).await?;
    let rows = copy.finish().await?;
    sqlx::raw_sql("ANALYZE stats")
        .execute(&mut connection)
        .await?;
    println!(
        "{rows} events of {days} days from {first_day} on, {} MB",
        bytes / 1_000_000
    );
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Broad,
    Seen,
    View,
}

struct Maker {
    random: StdRng,
    recordsets: Vec<String>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let recordsets = {
            // The recordsets do not depend on the seed, so that days of different seeds share them.
            let mut random = StdRng::seed_from_u64(1615);
            (0..RECORDSETS)
                .map(|_| {
                    uuid::Builder::from_random_bytes(random.random())
                        .into_uuid()
                        .to_string()
                })
                .collect()
        };
        Self {
            random: StdRng::seed_from_u64(seed),
            recordsets,
        }
    }

    /// The kinds of the events, shuffled.
    fn kinds(&mut self, size: f64) -> Vec<Kind> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of events"
        )]
        let scaled = |n: u32| (f64::from(n) * size) as usize;
        let mut kinds = vec![Kind::Broad; scaled(BROAD)];
        kinds.extend(vec![Kind::Seen; scaled(SEEN)]);
        kinds.extend(vec![Kind::View; scaled(VIEWS)]);
        rand::seq::SliceRandom::shuffle(&mut kinds[..], &mut self.random);
        kinds
    }

    /// Appends an event as a line of COPY text.
    fn line(
        &mut self,
        out: &mut String,
        id: i64,
        day: NaiveDate,
        share: f64,
        kind: Kind,
    ) -> std::fmt::Result {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a second of the day"
        )]
        let second = (share * 86_400.0) as u32;
        let stat_type = match kind {
            Kind::Broad => ["search", "search", "search", "mapping", "download"]
                [self.random.random_range(0..5)],
            Kind::Seen => "seen",
            Kind::View => "view",
        };
        let record_type = if self.random.random_ratio(1, 20) {
            "mediarecords"
        } else {
            "records"
        };
        write!(
            out,
            "{id}\t{day} {:02}:{:02}:{:02}Z\t{stat_type}\t{record_type}\t{{",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        match kind {
            Kind::Broad => self.numbers(out)?,
            Kind::Seen => self.items(out, 50)?,
            Kind::View => self.items(out, 1)?,
        }
        let geocode = self.skewed(GEOCODES);
        write!(
            out,
            "}}\t{{\"country\": \"Country {}\", \"region\": \"Region {}\", \"city\": \"City {geocode}\"}}\t",
            geocode % 60,
            geocode % 600
        )?;
        writeln!(out, "{}", self.random.random_range(1..=QUERIES))
    }

    /// Recordsets with numbers: most events name few, some all of them; 200 on average.
    fn numbers(&mut self, out: &mut String) -> std::fmt::Result {
        let many = if self.random.random_ratio(1, 10) {
            self.random.random_range(400..=RECORDSETS)
        } else {
            self.random.random_range(1..=210)
        };
        for (place, recordset) in sample(&mut self.random, RECORDSETS, many)
            .into_iter()
            .enumerate()
        {
            let comma = if place > 0 { ", " } else { "" };
            write!(
                out,
                "{comma}\"{}\": {}",
                self.recordsets[recordset],
                self.random.random_range(1..100_000)
            )?;
        }
        Ok(())
    }

    /// Records of some recordsets.
    fn items(&mut self, out: &mut String, n: usize) -> std::fmt::Result {
        for place in 0..n {
            let comma = if place > 0 { ", " } else { "" };
            let recordset = self.skewed(1615) as usize;
            let record = uuid::Builder::from_random_bytes(
                (u128::from(self.skewed(2_000_000)) << 64 | recordset as u128).to_be_bytes(),
            )
            .into_uuid();
            write!(
                out,
                "{comma}\"{record}\": \"{}\"",
                self.recordsets[recordset]
            )?;
        }
        Ok(())
    }

    /// Small numbers are more likely.
    fn skewed(&mut self, below: u32) -> u32 {
        let share: f64 = self.random.random();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below the bound"
        )]
        let n = (share * share * f64::from(below)) as u32;
        n.min(below - 1)
    }
}
