//! `gantry check`: what is wrong with the environment, all of it, without starting anything.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::config::{Config, ProcessEnvironment, Variables, env_file};

/// Options of `gantry check`.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// Read this file of NAME=value lines instead of the environment of the process
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

/// Writes the report to `out`. Exit code 0 when Gantry could start with it, else 1.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(options: &CheckOptions, out: &mut dyn Write) -> io::Result<ExitCode> {
    let variables: Box<dyn Variables> = match &options.env_file {
        None => Box::new(ProcessEnvironment::snapshot()),
        Some(path) => match read(path) {
            Ok(text) => match env_file::parse(&text) {
                Ok(variables) => Box::new(variables),
                Err(errors) => {
                    for error in errors {
                        writeln!(out, "error: {} {error}", path.display())?;
                    }
                    return Ok(ExitCode::FAILURE);
                }
            },
            Err(error) => {
                writeln!(out, "error: {} cannot be read: {error}", path.display())?;
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    match Config::read(variables.as_ref()) {
        Ok((config, report)) => {
            write!(out, "{report}")?;
            summary(&config, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            write!(out, "{report}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A file's text; one that is too large is cut where [`env_file::parse`] refuses it.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(env_file::FILE_MAX as u64 + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn summary(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let framework = &config.framework;
    writeln!(
        out,
        "framework {} on {}",
        framework.task_name, config.http.listen
    )?;
    for service in &config.services {
        let demand = &service.template.demand;
        writeln!(
            out,
            "  {} x {}: {} cpus, {} MB, {} ports",
            service.name,
            service.instances,
            demand.cpus,
            demand.mem,
            demand.port_count()
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (bool, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let options = CheckOptions {
            env_file: Some(file.path().to_owned()),
        };
        let mut out = Vec::new();
        let code = run(&options, &mut out).unwrap();
        let good = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
        (good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_file_is_judged_and_nothing_started() {
        let definition = "FRAMEWORK_NAME=f\nSTORE=memory\nTASK_DEF_NUM=1\nTASK0_NAME=web\n\
            TASK0_NUM_INSTANCES=3\nTASK0_CPUS=0.5\nTASK0_MEM=512\n";
        let (good, out) = check(&format!("{definition}TASK0_IMAGE=alpine\n"));
        assert!(
            good && out.contains("web x 3: 0.5 cpus, 512 MB, 0 ports"),
            "{out}"
        );
        let (good, out) = check(definition);
        assert!(!good && out.contains("TASK0_IMAGE is not set"), "{out}");
        let (good, out) = check("A=1\nnonsense\n");
        assert!(!good && out.contains("line 2: is not NAME=value"), "{out}");
        let missing = CheckOptions {
            env_file: Some("/no/such/file".into()),
        };
        let mut out = Vec::new();
        run(&missing, &mut out).unwrap();
        assert!(String::from_utf8_lossy(&out).contains("cannot be read"));
    }
}
