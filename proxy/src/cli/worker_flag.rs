//! `--worker URL[,engine=NAME][,ranks=N][,name=NAME]`.

use crate::config::Located;
use crate::config::file::Worker;

/// Parses the flag's value; keys as in the config.
pub(super) fn parse(text: &str) -> Result<Worker, String> {
    let mut parts = text.split(',');
    let mut worker = Worker::at(parts.next().unwrap_or_default().parse()?);
    let mut seen = Vec::new();
    for part in parts {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("invalid `{part}`: expected KEY=VALUE"))?;
        if seen.contains(&key) {
            return Err(format!("`{key}` is given twice"));
        }
        seen.push(key);
        match key {
            "engine" => worker.engine = value.parse()?,
            "ranks" => {
                let ranks = value
                    .parse()
                    .map_err(|_| format!("invalid ranks `{value}`: expected a number from 1"))?;
                worker.ranks = Some(Located::nowhere(ranks));
            }
            "name" => worker.name = Some(Located::nowhere(value.to_owned())),
            _ => return Err(format!("unknown key `{key}`: expected engine, ranks or name")),
        }
    }
    Ok(worker)
}
