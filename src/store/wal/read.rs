//! A segment's records, read one after the other and put together to whole requests.

use super::record::{self, Definition, RecordKind};
use super::segment::{Step, Walk};
use super::{LastOf, Replayed, ReplayedBody, ReplayedSegment, extras, logs, positions};
use crate::error::Result;
use crate::model::Tenant;

/// Reads what is left of the walk. A request whose records are not all there is dropped whole. Sequences ascend from
/// `next`: a record that does not is a copy of an older one and damage.
///
/// # Errors
/// `Corrupt` when a body with a good checksum is not what we write.
pub(super) fn read_records(
    walk: &mut Walk<'_>,
    mut next: u64,
    out: &mut ReplayedSegment,
    last: &mut LastOf,
) -> Result<()> {
    let mut request: Vec<Replayed> = Vec::new();
    let mut whole = false;
    for step in walk {
        let (header, body) = match step {
            Step::Record { header, body } => (header, body),
            Step::Damage { at, len } => {
                tracing::warn!(at, len, "a damaged WAL record was skipped");
                out.quarantined += 1;
                whole = false;
                request.clear();
                continue;
            }
        };
        if header.sequence < next {
            tracing::warn!(
                sequence = header.sequence,
                next,
                "a WAL record that was there before was skipped"
            );
            out.quarantined += 1;
            whole = false;
            request.clear();
            continue;
        }
        next = header.sequence + 1;
        last.insert(header.class, header.sequence);
        if header.first {
            request.clear();
            whole = true;
        }
        let mut define = |tenant: &Tenant, definitions: &mut Vec<Definition>| {
            let definitions = std::mem::take(definitions).into_iter();
            out.definitions.extend(definitions.map(|d| (tenant.clone(), header.sequence, d)));
        };
        let body = match header.kind {
            RecordKind::Samples => {
                let mut samples = record::read_samples(&body)?;
                define(&samples.tenant, &mut samples.definitions);
                ReplayedBody::Samples(samples)
            }
            RecordKind::Histograms => {
                let mut histograms = extras::read_histograms(&body)?;
                define(&histograms.tenant, &mut histograms.definitions);
                ReplayedBody::Histograms(histograms)
            }
            RecordKind::Exemplars => {
                let mut exemplars = extras::read_exemplars(&body)?;
                define(&exemplars.tenant, &mut exemplars.definitions);
                ReplayedBody::Exemplars(exemplars)
            }
            RecordKind::Metadata => {
                let (tenant, metadata) = record::read_metadata(&body)?;
                ReplayedBody::Metadata(tenant, metadata)
            }
            RecordKind::Logs => ReplayedBody::Logs(logs::read_logs(&body)?),
            RecordKind::Position => {
                let (tenant, position) = positions::read_position(&body)?;
                ReplayedBody::Position(tenant, position)
            }
        };
        request.push(Replayed { sequence: header.sequence, class: header.class, body });
        if header.last && whole {
            out.records.append(&mut request);
        }
    }
    Ok(())
}
