//! For the targets of `fuzz/`.

use std::path::Path;

use super::{Config, ConfigError, Overrides, file};

/// What a configuration file with this text comes to. Files that it names aren't read.
///
/// # Errors
/// As [`Config::load`].
pub fn file(text: &str) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    let source = file::Source::new(Path::new("fuzz.toml"), text.to_owned());
    if source.parse()?.ice.secret_file.is_some() {
        return Ok(config);
    }
    let insecure = config.read(&source, false)?;
    config.apply(Overrides::default())?;
    config.check(insecure)?;
    Ok(config)
}
