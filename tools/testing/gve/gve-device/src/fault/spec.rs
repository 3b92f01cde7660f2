// SPDX-License-Identifier: GPL-2.0
//! Faults as text: `NAME`, or `NAME=KEY=VALUE,KEY=VALUE…`.

use super::{CATALOGUE, Entry, Fault};
use std::collections::BTreeMap;
use std::str::FromStr;
use thiserror::Error;

/// Why a fault's text was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// No such fault.
    #[error("no fault is called '{0}'; there are {1}")]
    UnknownFault(String, String),
    /// An argument without `=`.
    #[error("'{0}' is not KEY=VALUE")]
    NotAnArgument(String),
    /// An argument the fault does not have.
    #[error("{fault} has no argument '{key}'; it has {known}")]
    UnknownArgument {
        /// The fault.
        fault: &'static str,
        /// The argument.
        key: String,
        /// What there is.
        known: &'static str,
    },
    /// An argument that cannot be used.
    #[error("'{value}' is no {expected} for {key}")]
    BadValue {
        /// The argument.
        key: &'static str,
        /// What was given.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// An argument that has to be there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// A fault that was asked for.
#[derive(Clone)]
pub struct FaultSpec {
    entry: &'static Entry,
    arguments: Arguments,
}

impl std::fmt::Debug for FaultSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultSpec")
            .field("name", &self.entry.name)
            .field("arguments", &self.arguments.values)
            .finish()
    }
}

impl FaultSpec {
    /// The catalogue's line.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Makes the fault for a port, unless it is meant for another one.
    pub fn build(
        &self,
        port: usize,
        rng: fastrand::Rng,
    ) -> Result<Option<Box<dyn Fault>>, SpecError> {
        let mut arguments = self.arguments.clone();
        let only: Option<usize> = arguments.number("port")?;
        let fault = (self.entry.build)(&mut arguments, rng)?;
        arguments.finish(self.entry)?;
        Ok(only.is_none_or(|only| only == port).then_some(fault))
    }
}

impl FromStr for FaultSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, rest) = text.split_once('=').unwrap_or((text, ""));
        let entry = CATALOGUE
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
                SpecError::UnknownFault(name.to_owned(), names.join(", "))
            })?;
        let mut values = BTreeMap::new();
        for part in rest.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| SpecError::NotAnArgument(part.to_owned()))?;
            values.insert(key.to_owned(), value.to_owned());
        }
        let spec = FaultSpec {
            entry,
            arguments: Arguments { values },
        };
        // Built once here, so that a mistake shows before anything starts.
        spec.build(0, fastrand::Rng::with_seed(0))?;
        Ok(spec)
    }
}

/// Arguments that no fault has taken yet.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    values: BTreeMap<String, String>,
}

impl Arguments {
    /// Takes an argument.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.values.remove(key)
    }

    /// Takes a number.
    pub fn number<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, SpecError> {
        self.parsed(key, "number", |value| value.parse().ok())
    }

    /// Takes an argument that `parse` understands.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SpecError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(SpecError::BadValue {
                key,
                value,
                expected,
            }),
        }
    }

    fn finish(self, entry: &Entry) -> Result<(), SpecError> {
        match self.values.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(SpecError::UnknownArgument {
                fault: entry.name,
                key,
                known: entry.arguments,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> SpecError {
        text.parse::<FaultSpec>().err().unwrap()
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(refused("nonsense"), SpecError::UnknownFault(..)));
        assert!(matches!(refused("drop=p"), SpecError::NotAnArgument(_)));
        assert!(matches!(
            refused("drop=colour=red"),
            SpecError::UnknownArgument { .. }
        ));
        assert!(matches!(refused("drop=p=2"), SpecError::BadValue { .. }));
        assert_eq!(
            refused("admin-fail=status=INTERNAL"),
            SpecError::Missing("opcode")
        );
        assert!("drop".parse::<FaultSpec>().is_ok());
    }
}
