//! `millrace check`: what was found on this machine, and what to do about it.

use std::io::{self, Write};
use std::path::Path;

use storage::disk::probe;

use crate::config::Config;
use crate::environment::{self, Finding, Verdict};
use crate::fatal::{Exit, Fatal};
use crate::settings::Settings;
use crate::settings::host::Host;

/// Looks at the machine and at where `data_dir` is or would be, and prints every finding.
///
/// # Errors
/// Exit 3 when a broker could not run.
pub fn run(data_dir: &Path, out: &mut dyn Write) -> Result<(), Fatal> {
    let findings = find(data_dir);
    print(&findings, out).map_err(|error| Fatal::new(Exit::Environment, format!("cannot print: {error}")))?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(Fatal::new(
            Exit::Environment,
            format!("a broker cannot run here: {bad} of the above must change"),
        )),
    }
}

fn find(data_dir: &Path) -> Vec<Finding> {
    // What a server without options would pin; a machine too small for one says so when it is started.
    let pinned =
        Settings::new(&Config::default(), &Host::detect()).map_or(0, |settings| settings.pinned_bytes());
    let mut findings = environment::judge_machine(&probe::machine(), pinned);
    let directory = nearest_existing(data_dir);
    findings.extend(environment::judge_directory(directory, &probe::directory(directory)));
    findings
}

/// `path`, or the directory in which it would be made.
fn nearest_existing(path: &Path) -> &Path {
    let found = path.ancestors().find(|ancestor| ancestor.is_dir());
    found.unwrap_or_else(|| Path::new(if path.is_absolute() { "/" } else { "." }))
}

fn print(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for Finding { subject, fact, verdict, advice } in findings {
        let verdict = match verdict {
            Verdict::Good => "ok",
            Verdict::Poor => "poor",
            Verdict::Bad => "BAD",
        };
        writeln!(out, "{verdict:<5}{subject:<15}{fact}")?;
        if !advice.is_empty() {
            writeln!(out, "{:20}{advice}", "")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_is_printed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        // Whether this machine can run a broker is not for the test to say.
        let _ = run(&scratch.path().join("not/there/yet"), &mut out);
        let text = String::from_utf8(out).unwrap();
        for subject in
            ["kernel", "io_uring", "memlock", "open files", "direct I/O", "disk blocks", "free space"]
        {
            assert_eq!(
                text.lines()
                    .filter(|line| line.get(5..).is_some_and(|rest| rest.starts_with(subject)))
                    .count(),
                1,
                "{text}"
            );
        }
        assert!(!scratch.path().join("not").exists(), "looking makes nothing");
    }

    #[test]
    fn advice_stands_below_its_finding() {
        let mut out = Vec::new();
        let finding = Finding {
            subject: "kernel",
            fact: "2.4".into(),
            verdict: Verdict::Bad,
            advice: "a newer one".into(),
        };
        print(&[finding], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "BAD  kernel         2.4\n                    a newer one\n"
        );
    }

    #[test]
    fn a_relative_directory_is_looked_for_here() {
        assert_eq!(nearest_existing(Path::new("surely-not-there")), Path::new("."));
        assert_eq!(nearest_existing(Path::new("/surely-not-there/a")), Path::new("/"));
    }
}
