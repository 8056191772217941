//! Weighted: a cost that is a sum over columns, each by its weight. The example of a policy with scores.

use std::collections::BTreeMap;

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What a pool may set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Weights by the column's name; a column that is better the more of it there is has a negative one. By default
    /// `prefill-tokens`, `active-blocks` and `new-blocks`, so that tokens to compute and tokens to hold count the same.
    weights: BTreeMap<String, f64>,
    /// Above 0, rows are drawn by softmax over their scores; at 0 the least one is taken.
    temperature: f64,
}

/// Keeps every cost far from overflowing.
const WEIGHT_MAX: u32 = 1_000_000_000;

/// The policy.
#[derive(Clone, Debug)]
pub struct Weighted {
    weights: Vec<(Column, f64)>,
    temperature: f64,
}

impl Policy for Weighted {
    type Settings = Settings;

    fn configure(pool: &Pool, settings: Settings) -> Result<Self, String> {
        let temperature = finite("temperature", settings.temperature, WEIGHT_MAX)?;
        if settings.weights.is_empty() {
            let block = f64::from(pool.block_size);
            let weights =
                [(Column::PrefillTokens, 1.0), (Column::ActiveBlocks, block), (Column::NewBlocks, block)];
            return Ok(Self { weights: weights.to_vec(), temperature });
        }
        let weight = |(name, weight): (&String, &f64)| {
            let column = Column::ALL.iter().copied().find(|column| column.name() == name);
            let column = column.ok_or_else(|| format!("weights.{name}: there is no such column"))?;
            finite(&format!("weights.{name}"), weight.abs(), WEIGHT_MAX)?;
            Ok::<_, String>((column, *weight))
        };
        Ok(Self { weights: settings.weights.iter().map(weight).collect::<Result<_, _>>()?, temperature })
    }

    fn needs(&self) -> Needs {
        let mut columns: Vec<Column> = self.weights.iter().map(|(column, _)| *column).collect();
        if !columns.contains(&Column::Weight) {
            columns.push(Column::Weight);
        }
        Needs::columns(&columns).prompt()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let costs = self.score(request, ranks);
        let mut draw = Draw::new(request.seed);
        let row = if self.temperature > 0.0 {
            costs.softmax(self.temperature, &mut draw)
        } else {
            costs.least(&mut draw)
        };
        row.map(Decision::Rank).ok_or_else(|| "no row has a cost".to_owned())
    }
}

impl Scorer for Weighted {
    fn score(&self, _request: &Request, ranks: &Ranks) -> Costs {
        let sum = |costs: Costs, (column, weight): &(Column, f64)| costs.add(*weight, ranks.column(*column));
        let weights = ranks.column(Column::Weight);
        // A rank that is to take nothing takes nothing.
        self.weights.iter().fold(Costs::zero(ranks), sum).exclude(|row| weights[row] == 0)
    }
}

export_policy!(Weighted, scorer);
