//! What a task writes: the files `stdout` and `stderr` of its sandbox, read through its agent.

use gantry_core::AgentAddress;
use gantry_mesos::operator::{Download, OperatorError};

use super::{Cluster, ClusterError};

/// Most bytes of one answer.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 256 << 10;

/// Which part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// From this byte on.
    From(u64),
    /// So many bytes before the end.
    Last(u64),
}

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Output {
    /// Of its first byte, from the start of the file.
    pub(crate) offset: u64,
    /// Of the whole file when it was read.
    pub(crate) size: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Cluster {
    /// A part of a file: at most `limit` bytes, and no more than [`OUTPUT_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`ClusterError`]; `NoFile` when there is none (any more).
    pub(crate) async fn output(
        &self,
        agent: &AgentAddress,
        path: &str,
        span: Span,
        limit: u64,
    ) -> Result<Output, ClusterError> {
        let _place = self.place()?;
        let read = self.read(agent, path, span, limit.min(OUTPUT_BYTES_MAX));
        // Each question has its own limit; all of them together have one, too.
        let read = tokio::time::timeout(super::ANSWER_WITHIN, read).await;
        match read {
            Ok(read) => read,
            Err(_) => Err(ClusterError::Unreachable(format!(
                "agent {} does not answer in time",
                agent.hostname
            ))),
        }
    }

    async fn read(
        &self,
        agent: &AgentAddress,
        path: &str,
        span: Span,
        limit: u64,
    ) -> Result<Output, ClusterError> {
        let client = self.client()?;
        let address = self.address(agent);
        let failed = |error: OperatorError| ClusterError::of(&error, agent);
        let (offset, limit) = match span {
            Span::From(offset) => (offset, limit),
            Span::Last(bytes) => {
                let bytes = bytes.min(limit);
                let whole = client.read_file(&address, path, 0, 0).await;
                (whole.map_err(failed)?.size.saturating_sub(bytes), bytes)
            }
        };
        let mut output = Output {
            offset,
            size: 0,
            bytes: Vec::new(),
        };
        loop {
            let read = output.bytes.len() as u64;
            let at = offset.saturating_add(read);
            let part = client.read_file(&address, path, at, limit - read).await;
            let part = part.map_err(failed)?;
            output.size = part.size;
            output.bytes.extend_from_slice(&part.data);
            // An agent gives 64 KiB at once.
            if part.data.is_empty() || output.bytes.len() as u64 >= limit {
                return Ok(output);
            }
        }
    }

    /// A whole file on its way. Its place among the open questions is held by whoever reads it.
    ///
    /// # Errors
    /// As for [`Cluster::output`].
    pub(crate) async fn download(
        &self,
        agent: &AgentAddress,
        path: &str,
    ) -> Result<(Download, impl Sized + use<>), ClusterError> {
        let place = self.place()?;
        let download = self.client()?.download(&self.address(agent), path).await;
        let download = download.map_err(|error| ClusterError::of(&error, agent))?;
        Ok((download, place))
    }
}
