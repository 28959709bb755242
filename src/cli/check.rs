//! `gantry check`: what is wrong with the environment, all of it, without starting anything.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;

use super::environment::EnvironmentOptions;
use crate::config::Config;

/// Options of `gantry check`.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// What is judged.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
}

/// Writes the report to `out`. Exit code 0 when Gantry could start with it, else 1.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(options: &CheckOptions, out: &mut dyn Write) -> io::Result<ExitCode> {
    let variables = match options.environment.variables() {
        Ok(variables) => variables,
        Err(errors) => {
            for error in errors {
                writeln!(out, "error: {error}")?;
            }
            return Ok(ExitCode::FAILURE);
        }
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
    use std::path::Path;

    use super::*;

    fn options(env_file: &Path) -> CheckOptions {
        CheckOptions {
            environment: EnvironmentOptions {
                env_file: Some(env_file.to_owned()),
            },
        }
    }

    fn check(text: &str) -> (bool, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let options = options(file.path());
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
        let mut out = Vec::new();
        run(&options(Path::new("/no/such/file")), &mut out).unwrap();
        assert!(String::from_utf8_lossy(&out).contains("cannot be read"));
    }
}
