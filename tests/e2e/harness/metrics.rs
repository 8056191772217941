//! Reading the metrics page.

/// The sum of a family's samples whose labels contain all of `labels` (`name="value"`). 0 if there is none.
pub fn metric(page: &str, family: &str, labels: &[&str]) -> f64 {
    let of_family = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
    page.lines()
        .filter(of_family)
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
