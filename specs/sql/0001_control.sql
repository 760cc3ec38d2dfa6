-- The shared part of the truth: tenants, people, quotas, the dispatch ledger.
-- Every tenant has a schema and a role of its own, both named t_<id>; see 0002_tenant.sql.
-- Nobody who logs in owns anything: windlass_owner does, and cannot log in. The web server logs in as windlass_web: it
-- may call what requests need, and take a tenant's role. Scheduler and supervisor log in as windlass_engine: it may call
-- what they need, and take no tenant's role. windlass_app is both, for those who want one account for all programs.
-- What tenants' roles may do outside their schemas is in specs/rights.sql.

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'windlass_owner') THEN
		CREATE ROLE windlass_owner NOLOGIN CREATEROLE;
	END IF;
	-- NOINHERIT: a tenant's rights are there only once its role is taken
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'windlass_web') THEN
		CREATE ROLE windlass_web LOGIN NOINHERIT;
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'windlass_engine') THEN
		CREATE ROLE windlass_engine LOGIN;
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'windlass_app') THEN
		CREATE ROLE windlass_app LOGIN;
	END IF;
	GRANT windlass_web, windlass_engine TO windlass_app;
	-- what every tenant's role may do in the shared schema: granted once here, inherited by each t_<id>
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'windlass_tenant') THEN
		CREATE ROLE windlass_tenant NOLOGIN;
	END IF;
	GRANT windlass_tenant TO windlass_owner WITH ADMIN OPTION;
	EXECUTE format('GRANT CREATE, CONNECT ON DATABASE %I TO windlass_owner', current_database());
	EXECUTE format('GRANT CONNECT ON DATABASE %I TO windlass_web, windlass_engine, windlass_app', current_database());
	IF NOT pg_has_role('windlass_owner', 'MEMBER') THEN -- a superuser need not be one
		GRANT windlass_owner TO CURRENT_USER;
	END IF;
	EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$;

CREATE SCHEMA IF NOT EXISTS control AUTHORIZATION windlass_owner;
REVOKE ALL ON SCHEMA control FROM PUBLIC;
GRANT USAGE ON SCHEMA control TO windlass_web, windlass_engine, windlass_tenant;
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.tenant (
	id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
	state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended', 'deleted')),
	settings   json NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE control.app_user (
	id            uuid PRIMARY KEY,
	tenant        int  NOT NULL REFERENCES control.tenant,
	email         text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
	password_hash text NOT NULL,
	role          text NOT NULL CHECK (role IN ('admin', 'editor', 'executor', 'viewer')),
	state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'invited', 'disabled')),
	created_at    timestamptz NOT NULL DEFAULT now(),
	last_login    timestamptz
);
CREATE UNIQUE INDEX app_user_email ON control.app_user (tenant, lower(email));
CREATE INDEX app_user_by_email ON control.app_user (lower(email));

-- Refresh tokens are kept as SHA-256. All tokens that descend from one login are a family: a token that
-- is shown twice was stolen by somebody, so its whole family is revoked (RFC 9700 §4.14.2).
CREATE TABLE control.refresh_token (
	hash       bytea PRIMARY KEY,
	family     uuid NOT NULL,
	user_id    uuid NOT NULL REFERENCES control.app_user ON DELETE CASCADE,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	used_at    timestamptz,
	revoked_at timestamptz
);
CREATE INDEX refresh_token_family ON control.refresh_token (family);
CREATE INDEX refresh_token_expiry ON control.refresh_token (expires_at);

CREATE TABLE control.quota (
	tenant                 int PRIMARY KEY REFERENCES control.tenant,
	max_flows              int NOT NULL DEFAULT 100,
	max_executions_per_day int NOT NULL DEFAULT 1000,
	max_storage_gb         int NOT NULL DEFAULT 10,
	max_concurrent         int NOT NULL DEFAULT 100,   -- running executions: the cap of fair scheduling
	max_queued             int NOT NULL DEFAULT 10000, -- waiting executions
	weight                 int NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100)
);

-- One incarnation of each Redis shard. A start is accepted only under the newest gen.
CREATE TABLE control.shard (
	id           smallint PRIMARY KEY,
	gen          bigint NOT NULL DEFAULT 0,
	redis_run_id text   NOT NULL DEFAULT ''
);
INSERT INTO control.shard (id) SELECT generate_series(0, 15);

CREATE SEQUENCE control.dispatch_seq;
-- The ledger: one row for each execution that is not terminal. A row in state Q is its own outbox.
-- No index covers a column that a start or a fence changes, so those updates stay heap-only.
CREATE TABLE control.dispatch (
	eid         uuid PRIMARY KEY,
	tenant      int         NOT NULL,
	shard       smallint    NOT NULL,
	state       "char"      NOT NULL DEFAULT 'Q', -- Q queued, R running
	cancel      boolean     NOT NULL DEFAULT false,
	deliveries  smallint    NOT NULL DEFAULT 0,
	epoch       int         NOT NULL DEFAULT 0,
	seq         bigint      NOT NULL DEFAULT nextval('control.dispatch_seq'),
	accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	started_at  timestamptz,
	not_before  timestamptz,
	deadline    timestamptz NOT NULL,
	flow_id     uuid        NOT NULL,
	doc_hash    bytea       NOT NULL,
	sup         text        NOT NULL DEFAULT '',
	inputs      json        -- NULL when large: then it is read from the tenant's row
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
CREATE INDEX dispatch_order ON control.dispatch (shard, seq);
CREATE INDEX dispatch_deadline ON control.dispatch (deadline);

CREATE TABLE control.tenant_day (
	tenant     int  NOT NULL,
	day        date NOT NULL,
	executions int  NOT NULL DEFAULT 0,
	room       int  NOT NULL DEFAULT 0, -- executions that may still join those that wait before they are counted again
	recount    timestamptz NOT NULL DEFAULT '-infinity', -- and not before this
	PRIMARY KEY (tenant, day)
) WITH (fillfactor = 50);

CREATE TABLE control.idem (
	tenant   int   NOT NULL,
	key      text  NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	req_hash bytea NOT NULL,
	eid      uuid  NOT NULL,
	created  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant, key)
);
CREATE INDEX idem_created ON control.idem (created);

-- The tenant whose role the transaction has taken, from the role's name. SECURITY DEFINER functions see it
-- too: the setting "role" is the one given by SET LOCAL ROLE, not the function's owner.
CREATE FUNCTION control.tenant_of_role() RETURNS int
LANGUAGE plpgsql STABLE AS $$
DECLARE
	role_name text := current_setting('role');
BEGIN
	IF role_name !~ '^t_[0-9]{1,9}$' THEN
		RAISE EXCEPTION 'no tenant role is set' USING ERRCODE = 'insufficient_privilege';
	END IF;
	RETURN substr(role_name, 3)::int;
END $$;

-- What the tenant of this transaction has in flight. The owner's rights read the ledger, the filter is the role.
CREATE VIEW control.live WITH (security_barrier) AS
	SELECT eid, state, cancel, epoch, started_at, accepted_at, deadline
	FROM control.dispatch WHERE tenant = control.tenant_of_role();

CREATE VIEW control.my_quota WITH (security_barrier) AS
	SELECT q.*, coalesce(d.executions, 0) AS executions_today,
	       (date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC' AS resets_at
	FROM control.quota q
	LEFT JOIN control.tenant_day d ON d.tenant = q.tenant AND d.day = (now() AT TIME ZONE 'UTC')::date
	WHERE q.tenant = control.tenant_of_role();
GRANT SELECT ON control.live, control.my_quota TO windlass_tenant;
