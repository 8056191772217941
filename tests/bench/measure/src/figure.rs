//! Figures as lines: `figure: NAME VALUE UNIT`, with `goal OP VALUE` where one is set, and a `must:` line where one gates.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less: at most the bound.
    Less,
    /// More: at least the bound.
    More,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The figure.
    pub name: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What it must reach.
    pub must: Option<f64>,
    /// Where it is going.
    pub goal: Option<f64>,
}

impl Target {
    /// At most `must`, at best `goal`.
    pub const fn less(name: &'static str, must: f64, goal: f64) -> Self {
        Self { name, better: Better::Less, must: Some(must), goal: Some(goal) }
    }

    /// At least `must`, at best `goal`.
    pub const fn more(name: &'static str, must: f64, goal: f64) -> Self {
        Self { name, better: Better::More, must: Some(must), goal: Some(goal) }
    }

    fn lines(&self, value: f64, unit: &str) -> String {
        let (sign, reached): (_, fn(f64, f64) -> bool) = match self.better {
            Better::Less => ("<=", |value, bound| value <= bound),
            Better::More => (">=", |value, bound| value >= bound),
        };
        let mut lines = plain(self.name, value, unit);
        if let Some(goal) = self.goal {
            lines += &format!(" goal {sign} {goal}");
        }
        if let Some(must) = self.must {
            let verdict = if reached(value, must) { "met" } else { "missed" };
            lines += &format!("\nmust: {} {sign} {must} {verdict}", self.name);
        }
        lines
    }
}

/// Prints a figure, against its target if `targets` names it.
pub fn print(targets: &[Target], name: &str, value: f64, unit: &str) {
    match targets.iter().find(|target| target.name == name) {
        Some(target) => println!("{}", target.lines(value, unit)),
        None => println!("{}", plain(name, value, unit)),
    }
}

fn plain(name: &str, value: f64, unit: &str) -> String {
    // Three digits are more than a run repeats.
    let decimals = if value == 0.0 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else if value.abs() >= 0.1 {
        2
    } else {
        4
    };
    format!("figure: {name} {value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_is_reached() {
        let target = Target::more("a_vs_b", 2.3, 5.0);
        assert_eq!(target.lines(3.456, "x"), "figure: a_vs_b 3.46 x goal >= 5\nmust: a_vs_b >= 2.3 met");
        assert!(target.lines(2.2, "x").ends_with("missed"));
        assert!(Target::less("c", 450.0, 350.0).lines(450.0, "ns").ends_with("must: c <= 450 met"));
        assert_eq!(plain("d", 1234.5, "ns"), "figure: d 1234 ns");
        assert_eq!(plain("e", 12.34, "us"), "figure: e 12.3 us");
    }
}
