-- A tenant's own schema, made by control.tenant_create() at registration.
SET LOCAL ROLE windlass_owner;

-- Make the schema, the role and the tables of tenant p_id. The tenant's role may read and write rows, and
-- nothing else: tables belong to windlass_owner.
CREATE FUNCTION control.tenant_schema_create(p_id int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	s text := format('t_%s', p_id);
BEGIN
	EXECUTE format('CREATE ROLE %I NOLOGIN', s);
	EXECUTE format('GRANT %I TO windlass_web', s);
	EXECUTE format('CREATE SCHEMA %I', s);
	EXECUTE format($ddl$
		-- Flow documents by content: an execution or a version pins one, and it never changes.
		CREATE TABLE %1$I.flow_docs (
			hash       bytea PRIMARY KEY,
			doc        json NOT NULL,
			created_at timestamptz NOT NULL DEFAULT now()
		);
		CREATE TABLE %1$I.flows (
			id          uuid PRIMARY KEY,
			name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
			description text NOT NULL DEFAULT '',
			status      text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived')),
			rev         int  NOT NULL DEFAULT 1,
			draft_hash  bytea NOT NULL REFERENCES %1$I.flow_docs,
			published   int,
			created_by  uuid NOT NULL,
			created_at  timestamptz NOT NULL DEFAULT now(),
			updated_at  timestamptz NOT NULL DEFAULT now(),
			deleted_at  timestamptz
		);
		CREATE INDEX ON %1$I.flows (updated_at DESC, id) WHERE deleted_at IS NULL;
		CREATE TABLE %1$I.flow_versions (
			flow_id    uuid NOT NULL REFERENCES %1$I.flows,
			version    int  NOT NULL,
			doc_hash   bytea NOT NULL REFERENCES %1$I.flow_docs,
			name       text NOT NULL,
			note       text NOT NULL DEFAULT '',
			created_by uuid NOT NULL,
			created_at timestamptz NOT NULL DEFAULT now(),
			PRIMARY KEY (flow_id, version)
		);
		CREATE TABLE %1$I.executions (
			id         uuid PRIMARY KEY,
			flow_id    uuid NOT NULL,
			version    int,
			doc_hash   bytea NOT NULL,
			user_id    uuid NOT NULL,
			status     text NOT NULL DEFAULT 'queued'
			           CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'timeout')),
			epoch      int  NOT NULL DEFAULT 0,
			created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
			start_time timestamptz,
			end_time   timestamptz,
			deadline   timestamptz NOT NULL,
			labels     jsonb NOT NULL DEFAULT '{}',
			inputs     json NOT NULL,
			outputs    json,
			error      json
		) WITH (fillfactor = 80);
		CREATE INDEX ON %1$I.executions (created_at DESC, id DESC);
		CREATE INDEX ON %1$I.executions (flow_id, created_at DESC);
	$ddl$, s);
	EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', s, s);
	EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %1$I.flows TO %1$I', s);
	EXECUTE format('GRANT SELECT, INSERT ON %1$I.flow_docs, %1$I.flow_versions TO %1$I', s);
	EXECUTE format('GRANT SELECT ON %1$I.executions TO %1$I', s); -- written by accept, finish and cancel alone
	EXECUTE format('GRANT windlass_tenant TO %I', s);
END $$;
