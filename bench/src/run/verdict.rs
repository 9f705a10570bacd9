//! The judgement CI fails on. What looks clearly worse is measured once more, longer, and only that counts: a turn on a
//! busy machine says little, and a regression stays.

use anyhow::Result;

use crate::report::compare::{Judgement, Records, Verdict, check};
use crate::report::{Row, Run};

/// How many times the turns of the first measurement the second has.
const LONGER: usize = 2;

/// Judges a run. `again` measures a shape with that many turns; its row takes the place of the first.
pub fn reach(
    run: &mut Run,
    records: &Records,
    runs: usize,
    again: impl Fn(&str, usize) -> Result<Row>,
) -> Result<Vec<Verdict>> {
    for first in check(run, records).iter().filter(|verdict| verdict.judgement == Judgement::Worse) {
        let turns = runs * LONGER + 1;
        eprintln!("{first}\n{}: a second measurement with {turns} turns decides", first.shape);
        let row = again(&first.shape, turns)?;
        run.rows.iter_mut().filter(|old| old.shape == row.shape).for_each(|old| *old = row.clone());
    }
    Ok(check(run, records))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::report::Figure;
    use crate::report::compare::Recorded;
    use crate::report::row::Better;

    fn row(shape: &str, ratio: f64) -> Row {
        Row { shape: shape.into(), ratio, ..Row::default() }
    }

    /// The verdicts on two shapes of which the second measured 2.0 against a recorded 1.0, and then `later`.
    fn second(later: f64) -> (Vec<Judgement>, Vec<(String, usize)>, f64) {
        let record = Recorded {
            ratio: 1.0,
            tolerance: 0.25,
            figure: Figure::Ratio,
            better: Better::Lower,
            note: String::new(),
        };
        let records = Records::from([("a".into(), record.clone()), ("b".into(), record)]);
        let mut run = Run { rows: vec![row("a", 1.1), row("b", 2.0)], ..Run::default() };
        let asked = RefCell::new(Vec::new());
        let again = |shape: &str, turns: usize| {
            asked.borrow_mut().push((shape.to_owned(), turns));
            Ok(row(shape, later))
        };
        let verdicts = reach(&mut run, &records, 3, again).expect("nothing fails to measure");
        let judgements = verdicts.iter().map(|verdict| verdict.judgement).collect();
        (judgements, asked.into_inner(), run.rows[1].ratio)
    }

    #[test]
    fn only_the_second_measurement_condemns() {
        let asked = vec![("b".to_owned(), 7)];
        assert_eq!(second(1.2), (vec![Judgement::Same, Judgement::Same], asked.clone(), 1.2));
        assert_eq!(second(1.9), (vec![Judgement::Same, Judgement::Worse], asked, 1.9));
    }

    #[test]
    fn a_second_measurement_that_fails_is_an_error() {
        let text = r#"{"a":{"ratio":1.0,"tolerance":0.1,"figure":"ratio"}}"#;
        let records: Records = serde_json::from_str(text).expect("it is a record");
        let mut run = Run { rows: vec![row("a", 2.0)], ..Run::default() };
        assert!(reach(&mut run, &records, 1, |_, _| anyhow::bail!("lost")).is_err());
    }
}
