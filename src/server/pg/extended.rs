//! The extended protocol: Parse, Bind, Describe, Execute. A statement is planned at Parse for its types and
//! again, over a fresh snapshot, at the first Execute of each portal.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use futures::{Sink, SinkExt, stream};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;

use futures::StreamExt;

use super::connection::Connection;
use super::encode::describe;
use super::parameters;
use super::refusal::{NO_STATEMENT, PROTOCOL, protocol, refuse};
use super::run::{Order, Running};
use super::simple::{check_transaction, tag_of, texts};
use super::utility::{Utility, show};
use crate::error::Error;
use crate::query::sql::{Prepared, SqlStatement};

/// What Parse makes of a text.
#[derive(Debug, Clone)]
pub(super) enum Parsed {
    /// A query and what is known of it.
    Query(SqlStatement, Prepared),
    /// Another statement.
    Utility(Utility),
}

/// The handler of one connection.
pub(super) struct Extended {
    connection: Arc<Connection>,
}

impl Extended {
    /// The handler of a connection.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }
}

/// Prepares statements for a connection.
pub(super) struct Preparer(Arc<Connection>);

#[async_trait]
impl QueryParser for Preparer {
    type Statement = Arc<Parsed>;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        _: &[Option<Type>],
    ) -> PgWireResult<Option<Arc<Parsed>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let told = |e: Error| refuse(&e);
        let mut statements = SqlStatement::split(sql).map_err(told)?;
        let Some(statement) = statements.pop() else { return Ok(None) };
        if !statements.is_empty() {
            return Err(protocol("42601", "cannot insert multiple commands into a prepared statement"));
        }
        let utility = Utility::recognise(&statement).map_err(told)?;
        check_transaction(client, utility.as_ref())?;
        if let Some(utility) = utility {
            return Ok(Some(Arc::new(Parsed::Utility(utility))));
        }
        let session = self.0.session()?;
        let since = self.0.state.clock.monotonic();
        let prepared = self.0.interruptible(since, session.prepare(&statement)).await?;
        Ok(Some(Arc::new(Parsed::Query(statement, prepared))))
    }

    fn get_parameter_types(&self, parsed: &Arc<Parsed>) -> PgWireResult<Vec<Type>> {
        Ok(match &**parsed {
            Parsed::Query(_, prepared) => {
                prepared.parameters.iter().map(|kind| parameters::wire_type(kind.as_ref())).collect()
            }
            Parsed::Utility(_) => Vec::new(),
        })
    }

    fn get_result_schema(
        &self,
        parsed: &Arc<Parsed>,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        match &**parsed {
            Parsed::Query(_, prepared) => {
                describe(&prepared.columns, format.unwrap_or(&Format::UnifiedText)).map_err(|e| refuse(&e))
            }
            Parsed::Utility(Utility::Show(name)) => {
                let shown = show(self.0.session()?.settings(), name.as_deref());
                Ok(texts(shown.map_err(|e| refuse(&e))?.0))
            }
            Parsed::Utility(_) => Ok(Vec::new()),
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Arc<Parsed>;
    type QueryParser = Preparer;

    fn query_parser(&self) -> Arc<Preparer> {
        Arc::new(Preparer(Arc::clone(&self.connection)))
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let _busy = self.connection.busy();
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        if name != DEFAULT_NAME && client.portal_store().get_statement(name).is_some() {
            return Err(protocol("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let parser = self.query_parser();
        match pgwire::api::stmt::StoredStatement::parse(client, &message, parser).await? {
            Some(statement) => {
                self.connection.remember(name)?;
                client.portal_store().put_statement(Arc::new(statement));
            }
            None => client.portal_store().put_empty_statement(name),
        }
        Ok(client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?)
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        match client.portal_store().get_statement(name) {
            Some(Entry::Value(statement)) => {
                check_bind(&message, &statement.statement)?;
                client.portal_store().put_portal(Arc::new(Portal::try_new(&message, statement)?));
            }
            Some(Entry::Empty) => client.portal_store().put_empty_portal(portal),
            None => {
                let shown = if name == DEFAULT_NAME { "" } else { name };
                return Err(protocol(NO_STATEMENT, format!("prepared statement \"{shown}\" does not exist")));
            }
        }
        Ok(client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let _busy = self.connection.busy();
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => self.execute(client, &portal, message.max_rows).await?,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
            }
            None => {
                let shown = if name == DEFAULT_NAME { "" } else { name };
                return Err(protocol("34000", format!("portal \"{shown}\" does not exist")));
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.connection.forget(Some(name));
                client.portal_store().rm_statement(name);
            }
            TARGET_TYPE_BYTE_PORTAL => client.portal_store().rm_portal(name),
            other => return Err(protocol(PROTOCOL, format!("invalid CLOSE message subtype {other}"))),
        }
        Ok(client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?)
    }

    async fn do_query<C>(&self, _: &mut C, _: &Portal<Arc<Parsed>>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        Err(refuse(&Error::internal("on_execute answers portals itself")))
    }
}

impl Extended {
    async fn execute<C>(
        &self,
        client: &mut C,
        portal: &Portal<Arc<Parsed>>,
        max_rows: i32,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Arc<Parsed>>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let (statement, prepared) = match &*portal.statement.statement {
            Parsed::Query(statement, prepared) => (statement, prepared),
            Parsed::Utility(utility) => {
                check_transaction(client, Some(utility))?;
                let done = self.connection.utility(client, utility).await?;
                for row in done.rows.into_iter().flat_map(|(_, rows)| rows) {
                    client.feed(PgWireBackendMessage::DataRow(row)).await?;
                }
                return Ok(client.feed(PgWireBackendMessage::CommandComplete(done.tag.into())).await?);
            }
        };
        check_transaction(client, None)?;
        let since = self.connection.state.clock.monotonic();
        let shared = portal.state();
        let mut state = shared.lock().await;
        if let PortalExecutionState::Initial = *state {
            let running = self.start(portal, statement, &prepared.columns, since).await?;
            *state = PortalExecutionState::Suspended(running);
        }
        let limit = usize::try_from(max_rows).unwrap_or_default();
        let mut rows = 0;
        if let PortalExecutionState::Suspended(response) = &mut *state {
            loop {
                if limit > 0 && rows == limit {
                    return Ok(client
                        .feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
                        .await?);
                }
                let stream = response.data_rows();
                let next = self.connection.interruptible(since, async { Ok(stream.next().await) }).await?;
                let Some(row) = next else { break };
                client.feed(PgWireBackendMessage::DataRow(row?)).await?;
                rows += 1;
            }
        }
        *state = PortalExecutionState::Finished;
        let verb = tag_of(statement);
        let tag = if verb == "SELECT" { Tag::new(verb).with_rows(rows) } else { Tag::new(verb) };
        Ok(client.feed(PgWireBackendMessage::CommandComplete(tag.into())).await?)
    }

    async fn start(
        &self,
        portal: &Portal<Arc<Parsed>>,
        statement: &SqlStatement,
        promised: &Arc<[FieldRef]>,
        since: std::time::Duration,
    ) -> PgWireResult<QueryResponse> {
        let Parsed::Query(_, prepared) = &*portal.statement.statement else {
            return Err(refuse(&Error::internal("only queries are started")));
        };
        let parameters = parameters::decode(portal, &prepared.parameters).map_err(|e| refuse(&e))?;
        let order = Order {
            session: Arc::clone(self.connection.session()?),
            statement: statement.clone(),
            parameters,
            format: portal.result_column_format.clone(),
            promised: Some(Arc::clone(promised)),
        };
        let start = Running::start(&self.connection.state.pools, order);
        let running = self.connection.interruptible(since, start).await?;
        let fields = Arc::new(running.fields.clone());
        let rows = stream::unfold(Some(running), |running| async move {
            let mut running = running?;
            match running.next().await {
                Ok(Some(row)) => Some((Ok(row), Some(running))),
                Ok(None) => None,
                Err(error) => Some((Err(refuse(&error)), None)),
            }
        });
        Ok(QueryResponse::new(fields, rows))
    }
}

/// Counts what a Bind message brings; pgwire would index out of bounds later.
fn check_bind(message: &Bind, parsed: &Parsed) -> PgWireResult<()> {
    let (parameters, columns) = match parsed {
        Parsed::Query(_, prepared) => (prepared.parameters.len(), prepared.columns.len()),
        Parsed::Utility(_) => (0, message.result_column_format_codes.len()),
    };
    let given = message.parameters.len();
    if given != parameters {
        let message =
            format!("bind message supplies {given} parameters, but prepared statement requires {parameters}");
        return Err(protocol(PROTOCOL, message));
    }
    let formats = message.parameter_format_codes.len();
    if formats > 1 && formats != given {
        let message = format!("bind message has {formats} parameter formats but {given} parameters");
        return Err(protocol(PROTOCOL, message));
    }
    let formats = message.result_column_format_codes.len();
    if formats > 1 && formats != columns {
        let message = format!("bind message has {formats} result formats but query has {columns} columns");
        return Err(protocol(PROTOCOL, message));
    }
    Ok(())
}
