//! The simple protocol: a text of statements, one after the other, answers in text.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use futures::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldFormat, FieldInfo, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{DataRow, RowDescription};
use pgwire::messages::response::{EmptyQueryResponse, NoticeResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::ParameterStatus;

use super::connection::Connection;
use super::refusal::{FAILED_TRANSACTION, NO_STATEMENT, protocol, refuse};
use super::run::{Order, Running};
use super::utility::{Utility, show};
use crate::error::Error;
use crate::query::sql::SqlStatement;

/// What a utility statement answers besides its tag.
pub(super) struct Done {
    pub(super) tag: Tag,
    pub(super) rows: Option<(Vec<FieldInfo>, Vec<DataRow>)>,
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let _busy = self.busy();
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statements = SqlStatement::split(&query.query).map_err(|e| refuse(&e))?;
        if statements.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for statement in statements {
            self.one(client, statement).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(refuse(&Error::internal("on_query answers queries itself")))
    }
}

impl Connection {
    async fn one<C>(&self, client: &mut C, statement: SqlStatement) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let utility = Utility::recognise(&statement).map_err(|e| refuse(&e))?;
        check_transaction(client, utility.as_ref())?;
        if let Some(utility) = utility {
            let done = self.utility(client, &utility).await?;
            if let Some((fields, rows)) = done.rows {
                send_description(client, &fields).await?;
                for row in rows {
                    client.feed(PgWireBackendMessage::DataRow(row)).await?;
                }
            }
            return Ok(client.feed(PgWireBackendMessage::CommandComplete(done.tag.into())).await?);
        }
        let verb = tag_of(&statement);
        let order = Order {
            session: Arc::clone(self.session()?),
            statement,
            parameters: Vec::new(),
            format: Format::UnifiedText,
            promised: None,
        };
        let since = self.state.clock.monotonic();
        let mut running = self.interruptible(since, Running::start(&self.state.pools, order)).await?;
        send_description(client, &running.fields).await?;
        let mut rows = 0;
        while let Some(row) = self.interruptible(since, running.next()).await? {
            client.feed(PgWireBackendMessage::DataRow(row)).await?;
            rows += 1;
        }
        let tag = if verb == "SELECT" { Tag::new(verb).with_rows(rows) } else { Tag::new(verb) };
        Ok(client.feed(PgWireBackendMessage::CommandComplete(tag.into())).await?)
    }

    /// Answers a statement that is no query, for both protocols.
    pub(super) async fn utility<C>(&self, client: &mut C, utility: &Utility) -> PgWireResult<Done>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let settings = self.session()?.settings().clone();
        let before = settings.reported();
        let told = |e: Error| refuse(&e);
        let mut tag = Tag::new(tag_name(utility));
        let mut rows = None;
        match utility {
            Utility::Begin { modes, .. } => {
                if client.transaction_status() != TransactionStatus::Idle {
                    warn(client, "25001", "there is already a transaction in progress").await?;
                }
                self.session()?.begin();
                for (name, value) in modes {
                    settings.set(name, Some(value), true).map_err(told)?;
                }
                client.set_transaction_status(TransactionStatus::Transaction);
            }
            Utility::Commit | Utility::Rollback => {
                let status = client.transaction_status();
                if status == TransactionStatus::Idle {
                    warn(client, "25P01", "there is no transaction in progress").await?;
                }
                let kept = *utility == Utility::Commit && status != TransactionStatus::Error;
                tag = Tag::new(if kept { "COMMIT" } else { "ROLLBACK" });
                self.session()?.end(kept);
                client.portal_store().clear_portals();
                client.set_transaction_status(TransactionStatus::Idle);
            }
            Utility::Savepoint(name) => {
                if client.transaction_status() == TransactionStatus::Idle {
                    return Err(protocol("25P01", format!("{name} can only be used in transaction blocks")));
                }
                if *name == "ROLLBACK" {
                    client.set_transaction_status(TransactionStatus::Transaction);
                }
            }
            Utility::Set { settings: all, local } => {
                for (name, value) in all {
                    settings.set(name, value.as_deref(), *local).map_err(told)?;
                }
            }
            Utility::Reset(Some(name)) => settings.set(name, None, false).map_err(told)?,
            Utility::Reset(None) => settings.reset_all(),
            Utility::Show(name) => {
                let (columns, values) = show(&settings, name.as_deref()).map_err(told)?;
                rows = Some((texts(columns), values.iter().map(|row| text_row(row)).collect()));
            }
            Utility::Deallocate(name) => self.deallocate(client, name.as_deref())?,
            Utility::Discard { all: true, .. } => {
                if client.transaction_status() != TransactionStatus::Idle {
                    return Err(protocol("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                settings.reset_all();
                client.portal_store().clear_portals();
                self.deallocate(client, None)?;
            }
            Utility::Discard { all: false, .. } | Utility::Nothing(_) => {}
            Utility::Checkpoint => {
                let since = self.state.clock.monotonic();
                self.interruptible(since, (self.state.checkpoint)()).await?;
            }
        }
        for (name, value) in settings.reported().into_iter().filter(|pair| !before.contains(pair)) {
            client.feed(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value))).await?;
        }
        Ok(Done { tag, rows })
    }

    fn deallocate<C>(&self, client: &C, name: Option<&str>) -> PgWireResult<()>
    where
        C: ClientPortalStore,
        C::PortalStore: PortalStore,
    {
        let gone = self.forget(name);
        if let (Some(name), true) = (name, gone.is_empty()) {
            return Err(protocol(NO_STATEMENT, format!("prepared statement \"{name}\" does not exist")));
        }
        for name in gone {
            client.portal_store().rm_statement(&name);
        }
        Ok(())
    }
}

/// In a failed transaction only its end is allowed.
pub(super) fn check_transaction<C: ClientInfo>(client: &C, utility: Option<&Utility>) -> PgWireResult<()> {
    let ends = matches!(utility, Some(Utility::Commit | Utility::Rollback | Utility::Savepoint("ROLLBACK")));
    if client.transaction_status() == TransactionStatus::Error && !ends {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        return Err(protocol(FAILED_TRANSACTION, message));
    }
    Ok(())
}

async fn warn<C>(client: &mut C, state: &str, message: &str) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let fields = vec![
        (b'S', "WARNING".to_owned()),
        (b'V', "WARNING".to_owned()),
        (b'C', state.to_owned()),
        (b'M', message.to_owned()),
    ];
    Ok(client.feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields))).await?)
}

async fn send_description<C>(client: &mut C, fields: &[FieldInfo]) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let description = RowDescription::new(fields.iter().map(Into::into).collect());
    Ok(client.feed(PgWireBackendMessage::RowDescription(description)).await?)
}

/// Columns of text.
pub(super) fn texts(names: Vec<String>) -> Vec<FieldInfo> {
    let field = |name| FieldInfo::new(name, None, None, Type::TEXT, FieldFormat::Text).with_type_size(-1);
    names.into_iter().map(field).collect()
}

fn text_row(values: &[String]) -> DataRow {
    let mut data = BytesMut::new();
    for value in values {
        data.put_i32(i32::try_from(value.len()).expect("settings are short"));
        data.put_slice(value.as_bytes());
    }
    DataRow::new(data, i16::try_from(values.len()).expect("SHOW has few columns"))
}

/// The command tag of a query.
pub(super) fn tag_of(statement: &SqlStatement) -> &'static str {
    if statement.verb() == "explain" { "EXPLAIN" } else { "SELECT" }
}

fn tag_name(utility: &Utility) -> &'static str {
    match utility {
        Utility::Begin { start: false, .. } => "BEGIN",
        Utility::Begin { start: true, .. } => "START TRANSACTION",
        Utility::Commit => "COMMIT",
        Utility::Rollback => "ROLLBACK",
        Utility::Savepoint(name) | Utility::Discard { name, .. } | Utility::Nothing(name) => name,
        Utility::Set { .. } => "SET",
        Utility::Reset(_) => "RESET",
        Utility::Show(_) => "SHOW",
        Utility::Deallocate(None) => "DEALLOCATE ALL",
        Utility::Deallocate(Some(_)) => "DEALLOCATE",
        Utility::Checkpoint => "CHECKPOINT",
    }
}
