-- What all parts of the platform's API stand on: the functions behind its operations, audit, options of a run, and
-- the way a tenant's schema grows.
SET LOCAL ROLE windlass_owner;

-- ---- operations -----------------------------------------------------------------------------------------
-- Behind each operation of specs/openapi.yaml stands a function of its name,
--
--     <schema>.<operationId>(p_actor json, p_request json) RETURNS api.answer
--
-- in one of three schemas, after who may call it:
--   api           a tenant's people and API keys. Runs under the tenant's role: what it can read and write is what
--                 that role can. Shared tables are reached through control's SECURITY DEFINER functions, which take
--                 the tenant from control.tenant_of_role().
--   api_public    nobody in particular (operations without a role); SECURITY DEFINER.
--   api_operator  the platform's operators; SECURITY DEFINER.
-- p_actor: {"user", "role", "tenant", "key" (API key or null), "ip", "request_id"}.
-- p_request: {"params": {path, query and header parameters by name, numbers as numbers, absent ones left out},
--             "body": the body or null, and what the server has found out beside it}.
-- The answer's status and body become the response's; etag (unquoted) and location its headers. effects, done after
-- the commit and best effort (the sweeper repairs a gap): {"enqueue": [{"eid","tenant","shard","gen","seq"}],
-- "cancel": [{"eid","shard","ended"}], "forget_family": [...]}.
-- SQL text that is put together in schema api is opened as a cursor (OPEN ... FOR EXECUTE), never plainly executed: a cursor
-- takes one query and nothing else, so not even a mistake in such a text would let SET ROLE in.
-- A refusal is an exception with a code WL4xx, whose message is a sentence for people; its DETAIL may be
-- {"errors": [{"path","message"}], ...}, which goes into the problem document.

CREATE SCHEMA api AUTHORIZATION windlass_owner;
CREATE SCHEMA api_public AUTHORIZATION windlass_owner;
CREATE SCHEMA api_operator AUTHORIZATION windlass_owner;
GRANT USAGE ON SCHEMA api TO windlass_tenant;
GRANT USAGE ON SCHEMA api_public, api_operator TO windlass_web;
-- a function is nobody's until it is granted; those of the three schemas are granted by where they stand
ALTER DEFAULT PRIVILEGES FOR ROLE windlass_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE windlass_owner IN SCHEMA api GRANT EXECUTE ON FUNCTIONS TO windlass_tenant;
ALTER DEFAULT PRIVILEGES FOR ROLE windlass_owner IN SCHEMA api_public GRANT EXECUTE ON FUNCTIONS TO windlass_web;
ALTER DEFAULT PRIVILEGES FOR ROLE windlass_owner IN SCHEMA api_operator GRANT EXECUTE ON FUNCTIONS TO windlass_web;

CREATE TYPE api.answer AS (status int, body json, etag text, location text, effects json);
GRANT USAGE ON TYPE api.answer TO windlass_web, windlass_tenant;

-- RFC 3339 in UTC with milliseconds, as all times of the API.
CREATE FUNCTION api.time(p_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

-- A time that came as text; WL400 naming the parameter when it is none.
CREATE FUNCTION api.read_time(p_text text, p_path text) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_text IS NULL THEN
		RETURN NULL;
	END IF;
	IF p_text !~ '^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$' THEN
		RAISE EXCEPTION 'not a time' USING ERRCODE = 'datetime_field_overflow';
	END IF;
	-- PostgreSQL takes offsets up to 16 hours, RFC 3339 up to 24
	IF p_text ~* 'z$' THEN
		RETURN p_text::timestamptz;
	END IF;
	RETURN (left(p_text, -6) || 'Z')::timestamptz - right(p_text, 6)::interval;
EXCEPTION WHEN data_exception THEN
	PERFORM api.refuse('WL400', 'a time is not RFC 3339', p_path, 'is not a time such as 2026-01-31T12:00:00Z');
END $$;

-- Refuse with one fault at a path.
CREATE FUNCTION api.refuse(p_code text, p_sentence text, p_path text, p_message text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RAISE EXCEPTION '%', p_sentence USING ERRCODE = p_code,
		DETAIL = json_build_object('errors', json_build_array(json_build_object('path', p_path, 'message', p_message)));
END $$;

CREATE FUNCTION api.missing(p_what text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RAISE EXCEPTION 'there is no such %', p_what USING ERRCODE = 'WL404';
END $$;

-- If-Match (RFC 9110 §13.1.1) against the revision of a thing that was read FOR UPDATE: WL412 when it names another.
CREATE FUNCTION api.check_match(p_condition text, p_rev int, p_what text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_condition IS NOT NULL AND btrim(p_condition) <> '*'
	   AND NOT ('"' || p_rev || '"' = ANY (regexp_split_to_array(btrim(p_condition), '\s*,\s*'))) THEN
		RAISE EXCEPTION 'the % has revision % now', p_what, p_rev USING ERRCODE = 'WL412';
	END IF;
END $$;

-- "page_info" of a list by pages.
CREATE FUNCTION api.page_info(p_page int, p_limit int, p_total bigint) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT json_build_object('page', p_page, 'limit', p_limit, 'pages', (p_total + p_limit - 1) / p_limit)
$$;

-- Until the transaction ends, be the only one of this tenant with that name in hand. Tenants' roles take no advisory locks
-- themselves: they could take those of others, or of the ledger's shards.
CREATE FUNCTION control.tenant_lock(p_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT pg_advisory_xact_lock(hashtextextended(control.tenant_of_role() || ' ' || p_name, 7204))
$$;
GRANT EXECUTE ON FUNCTION control.tenant_lock(text) TO windlass_tenant;

-- ---- audit: written with the change itself, shipped later (0013) --------------------------------------------

CREATE TABLE control.audit_outbox (
	id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	tenant        int         NOT NULL,
	at            timestamptz NOT NULL DEFAULT clock_timestamp(),
	actor         json        NOT NULL,
	action        text        NOT NULL CHECK (length(action) BETWEEN 1 AND 100),
	resource_type text        NOT NULL,
	resource_id   text        NOT NULL,
	metadata      json,
	seq           bigint, -- its place in the tenant's chain, given when it is sealed
	prev          text,
	hash          text
);
CREATE INDEX audit_outbox_tenant ON control.audit_outbox (tenant, id);

-- For functions of the owner that know the tenant from a row of theirs.
CREATE FUNCTION control.audit_for(p_tenant int, p_actor json, p_action text, p_type text, p_id text,
                                  p_metadata json DEFAULT NULL) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO control.audit_outbox (tenant, actor, action, resource_type, resource_id, metadata)
	VALUES (p_tenant, coalesce(p_actor, '{}'), p_action, p_type, coalesce(p_id, ''), p_metadata)
$$;

-- In a tenant's transaction: what p_actor did to which thing. No secrets in p_metadata.
CREATE FUNCTION control.audit(p_actor json, p_action text, p_type text, p_id text, p_metadata json DEFAULT NULL)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.audit_for(control.tenant_of_role(), p_actor, p_action, p_type, p_id, p_metadata)
$$;
GRANT EXECUTE ON FUNCTION control.audit(json, text, text, text, json) TO windlass_tenant;

-- ---- a tenant's schema grows ----------------------------------------------------------------------------------
-- A migration that adds to it defines control.tenant_ddl_<number>_<topic>(p_schema text) and, at its end, calls
-- control.tenant_ddl_everywhere() with that name for the tenants that exist. New tenants get all of them, in the
-- order of their names. The function also grants the tenant's role (named as the schema) what it may do.

ALTER FUNCTION control.tenant_schema_create(int) RENAME TO tenant_schema_base;

CREATE FUNCTION control.tenant_schema_create(p_id int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_name text;
BEGIN
	PERFORM control.tenant_schema_base(p_id);
	FOR v_name IN SELECT proname FROM pg_proc WHERE pronamespace = 'control'::regnamespace
	              AND proname ~ '^tenant_ddl_[0-9]{4}_' ORDER BY proname LOOP
		EXECUTE format('SELECT control.%I(%L)', v_name, 't_' || p_id);
	END LOOP;
END $$;

CREATE FUNCTION control.tenant_ddl_everywhere(p_function text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_id int;
BEGIN
	FOR v_id IN SELECT id FROM control.tenant WHERE to_regnamespace('t_' || id) IS NOT NULL ORDER BY id LOOP
		EXECUTE format('SELECT control.%I(%L)', p_function, 't_' || v_id);
	END LOOP;
END $$;

-- ---- options of a run, and where it came from -------------------------------------------------------------------
-- options: {"pinned": true} nodes with a pinned output give that; {"reuse": {"execution_id", "rerun": [node ids]}}
-- results of an earlier run are taken over but for those nodes and what follows them; {"only": node id} that node alone;
-- {"replay": {"execution_id", "mode"}} models and tools answer as they did in that run: offline (and only so), or fork (as
-- far as the same is asked).
-- source: api, retry, replay, schedule, webhook, chat, tool (a call of one tool to try it). source_id: what started it.

CREATE FUNCTION control.tenant_ddl_0004_options(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		ALTER TABLE %1$I.executions ADD COLUMN options json, ADD COLUMN source text NOT NULL DEFAULT 'api',
			ADD COLUMN source_id uuid;
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0004_options');

ALTER TABLE control.dispatch ADD COLUMN options json;
ALTER TYPE control.accept_item ADD ATTRIBUTE options json, ADD ATTRIBUTE source text, ADD ATTRIBUTE source_id uuid,
	ADD ATTRIBUTE expect bytea, ADD ATTRIBUTE seq bigint;

-- What became of one that asked to be accepted; see accept_batch.
CREATE TYPE control.accepted AS (
	ord int, outcome text, eid uuid, tenant int, shard int, gen bigint, seq bigint, version int, quota int, used int, resets_s int
);

-- Pick the documents, take from the quota, store what was granted.
CREATE FUNCTION control.accept_rows(p_tenant int, p_items json) RETURNS control.accepted[]
LANGUAGE plpgsql AS $$
DECLARE
	v_items control.accept_item[] := control.accept_pick(p_tenant, p_items);
	v_item  control.accept_item;
	v_new   control.accept_item[] := '{}';
	v_done  control.accepted[] := '{}';
	v_want  int := 0;
	v_quota record;
	v_full  boolean;
	v_gen   bigint;
	v_state text;
	v_reset int := ceil(86400 - extract(epoch FROM (now() AT TIME ZONE 'UTC')::time));
BEGIN
	FOREACH v_item IN ARRAY v_items LOOP
		v_want := v_want + (v_item.outcome = 'accepted')::int;
	END LOOP;
	v_quota := control.accept_quota(p_tenant, v_want);
	FOR n IN 1 .. cardinality(v_items) LOOP
		v_item := v_items[n];
		IF v_item.outcome = 'accepted' AND cardinality(v_new) < v_quota.granted THEN
			v_item.seq := nextval('control.dispatch_seq');
			v_new := v_new || v_item;
		ELSIF v_item.outcome = 'accepted' THEN
			v_item.outcome := CASE WHEN v_quota.backlog IS NULL THEN 'quota' ELSE 'backlog' END;
			DELETE FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem;
		ELSIF v_item.outcome = 'replayed' AND NOT EXISTS (
			SELECT FROM control.idem i WHERE i.tenant = p_tenant AND i.key = v_item.idem) THEN
			v_item.outcome := CASE WHEN v_quota.backlog IS NULL THEN 'quota' ELSE 'backlog' END; -- its first was in this very batch
		END IF;
		v_items[n] := v_item;
	END LOOP;
	IF cardinality(v_new) > 0 THEN
		EXECUTE format('INSERT INTO t_%s.executions (id, flow_id, version, doc_hash, user_id, deadline, labels, inputs, options,
		                                             source, source_id)
		                SELECT eid, flow, picked, doc_hash, user_id, clock_timestamp() + timeout_ms * interval ''1 ms'',
		                       coalesce(labels, ''{}''), coalesce(inputs, ''{}''), options, coalesce(source, ''api''), source_id
		                FROM unnest($1)', p_tenant) USING v_new;
		INSERT INTO control.dispatch (eid, tenant, shard, seq, deadline, flow_id, doc_hash, options, inputs)
		SELECT i.eid, p_tenant, p_tenant % 16, i.seq, clock_timestamp() + i.timeout_ms * interval '1 ms', i.flow, i.doc_hash,
		       i.options, CASE WHEN octet_length(i.inputs::text) <= 4096 THEN i.inputs END
		FROM unnest(v_new) i;
	END IF;
	-- whoever accepts (people, clocks, webhooks), and however long ago it was that he asked who may: nothing is accepted
	-- for a tenant that is suspended or deleted
	SELECT s.gen, t.state INTO v_gen, v_state FROM control.shard s LEFT JOIN control.tenant t ON t.id = p_tenant
	WHERE s.id = p_tenant % 16;
	IF v_state IS DISTINCT FROM 'active' AND cardinality(v_new) > 0 THEN
		PERFORM control.tenant_must_be_active(p_tenant);
	END IF;
	FOREACH v_item IN ARRAY v_items LOOP
		v_full := v_item.outcome = 'backlog';
		v_done := v_done || ROW(v_item.ord, v_item.outcome, v_item.eid, p_tenant, p_tenant % 16, v_gen, v_item.seq, v_item.picked,
			CASE WHEN v_full THEN v_quota.backlog ELSE v_quota.day_limit END,
			CASE WHEN v_full THEN v_quota.backlog ELSE v_quota.used END,
			CASE WHEN v_full THEN 1 ELSE v_reset END)::control.accepted;
	END LOOP;
	RETURN v_done;
END $$;

-- Accept for a tenant that the caller knows (a schedule's row, say). See accept_batch, which takes it from the role.
-- These two make rows of an array without a statement: each costs more than all their own work.
CREATE FUNCTION control.accept_for(p_tenant int, p_items json) RETURNS SETOF control.accepted
LANGUAGE plpgsql AS $$
DECLARE
	v_one control.accepted;
BEGIN
	FOREACH v_one IN ARRAY control.accept_rows(p_tenant, p_items) LOOP
		RETURN NEXT v_one;
	END LOOP;
END $$;

-- Accept executions of the tenant of this transaction: for each its idempotency key, its row in the tenant's schema
-- and its row in the ledger; the day's quota once for all, exact under parallel calls because its row is held until
-- commit. p_items: an array of {ord, eid, flow, version, may_draft, inputs, labels, timeout_ms, user_id, idem,
-- req_hash, options, source, source_id, doc_hash, role, expect}; version: absent for the newest published one (else the
-- draft where may_draft), "draft", or a number; doc_hash (of flow_docs): that document and no version of a flow; expect:
-- the document that the caller has looked at.
-- One row back for each item, in order. outcome: accepted; replayed (the key was seen with the same body: eid is the
-- first one's); key_reused (with another body); no_flow; archived; no_version; no_access; no_draft (nothing is published
-- and drafts are not his to run); changed (the document is another than expected); quota (of the day); backlog (as many
-- wait as may: then the columns quota and used are max_queued and resets_s is 1). Only accepted stored anything. Several
-- at once share one commit.
CREATE FUNCTION control.accept_batch(p_items json) RETURNS SETOF control.accepted
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_one control.accepted;
BEGIN
	FOREACH v_one IN ARRAY control.accept_rows(control.tenant_of_role(), p_items) LOOP
		RETURN NEXT v_one;
	END LOOP;
END $$;

-- Accept one execution in an api function, and what its answer needs: refusals become exceptions, effects has the
-- queue's entry. p_item as an item of accept_batch; ord is not needed.
CREATE FUNCTION api.accept_one(p_item json) RETURNS TABLE (eid uuid, replayed boolean, effects json)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	v record;
BEGIN
	SELECT * INTO v FROM control.accept_batch(json_build_array(
		(jsonb_build_object('ord', 0, 'timeout_ms', 3600000) || p_item::jsonb)::json));
	IF v.outcome IN ('no_flow', 'no_version') THEN
		PERFORM api.missing(CASE v.outcome WHEN 'no_flow' THEN 'flow' ELSE 'version' END);
	ELSIF v.outcome = 'archived' THEN
		RAISE EXCEPTION 'the flow is archived' USING ERRCODE = 'WL409';
	ELSIF v.outcome = 'no_draft' THEN
		RAISE EXCEPTION 'the flow has no published version, and a draft runs only for who may edit'
			USING ERRCODE = 'WL403';
	ELSIF v.outcome = 'no_access' THEN
		RAISE EXCEPTION 'this takes more access to the flow than you have' USING ERRCODE = 'WL403';
	ELSIF v.outcome = 'changed' THEN
		RAISE EXCEPTION 'the flow was changed at the same time; try again' USING ERRCODE = 'WL409';
	ELSIF v.outcome = 'key_reused' THEN
		RAISE EXCEPTION 'this Idempotency-Key was used with another body' USING ERRCODE = 'WL422';
	ELSIF v.outcome = 'quota' THEN
		RAISE EXCEPTION 'the executions of this day are used up' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'executions_per_day', 'limit', v.quota, 'used', v.used,
			                           'resets_s', v.resets_s)::text;
	ELSIF v.outcome = 'backlog' THEN
		RAISE EXCEPTION 'as many executions wait as may' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('quota', 'queued', 'limit', v.quota, 'used', v.used, 'resets_s', v.resets_s)::text;
	END IF;
	RETURN QUERY SELECT v.eid, v.outcome = 'replayed', CASE WHEN v.outcome = 'accepted' THEN json_build_object('enqueue',
		json_build_array(json_build_object('eid', v.eid, 'tenant', v.tenant, 'shard', v.shard, 'gen', v.gen,
		                                   'seq', v.seq))) END;
END $$;

-- ---- the end of a run -------------------------------------------------------------------------------------------
-- Whatever ends executions writes their terminal rows here, when their ledger rows were just deleted; what else their end
-- sets off hangs on it, in the same transaction: what a run was waiting for is forgotten (end_waits, 0008), and webhooks
-- are told of it (end_hooks, 0011), and chats get their answer (end_chat, 0018). Mostly nobody asked for any: one look for
-- all that end together.
-- A statement on a tenant's table is planned each time, so many rows of one tenant share one; for a few the plain
-- statement is cheaper.
CREATE FUNCTION control.terminal_batch(p_ended control.ended[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
	c_row     CONSTANT text := 'UPDATE t_%s.executions SET status = $2, epoch = $3, start_time = $4,
		end_time = clock_timestamp(), outputs = $5, error = $6 WHERE id = $1';
	c_rows    CONSTANT text := 'UPDATE t_%s.executions x SET status = w.status, epoch = w.epoch, start_time = w.started,
		end_time = clock_timestamp(), outputs = w.outputs, error = w.error FROM unnest($1) w WHERE x.id = w.eid';
	v_few     CONSTANT boolean := cardinality(p_ended) < 4;
	v_one     control.ended;
	v_group   record;
	v_tenants int[] := '{}';
	v_eids    uuid[] := '{}';
	v_waited  boolean;
	v_told    boolean;
	v_chatted boolean;
BEGIN
	FOREACH v_one IN ARRAY p_ended LOOP
		v_tenants := v_tenants || v_one.tenant;
		v_eids := v_eids || v_one.eid;
		IF v_few THEN
			EXECUTE format(c_row, v_one.tenant)
			USING v_one.eid, v_one.status, v_one.epoch, v_one.started, v_one.outputs, v_one.error;
		END IF;
	END LOOP;
	IF NOT v_few THEN
		FOR v_group IN SELECT e.tenant, array_agg(e) AS ended FROM unnest(p_ended) e GROUP BY 1 LOOP
			IF cardinality(v_group.ended) >= 4 THEN
				EXECUTE format(c_rows, v_group.tenant) USING v_group.ended;
				CONTINUE;
			END IF;
			FOREACH v_one IN ARRAY v_group.ended LOOP
				EXECUTE format(c_row, v_one.tenant)
				USING v_one.eid, v_one.status, v_one.epoch, v_one.started, v_one.outputs, v_one.error;
			END LOOP;
		END LOOP;
	END IF;
	SELECT EXISTS (SELECT FROM control.wait WHERE eid = ANY (v_eids))
	       OR EXISTS (SELECT FROM control.subflow_pin WHERE eid = ANY (v_eids)),
	       EXISTS (SELECT FROM control.outgoing_webhook h WHERE h.tenant = ANY (v_tenants) AND h.enabled),
	       EXISTS (SELECT FROM control.chat_turn WHERE eid = ANY (v_eids))
	INTO v_waited, v_told, v_chatted;
	IF v_waited THEN
		PERFORM control.end_waits(v_eids);
	END IF;
	IF v_told THEN
		PERFORM control.end_hooks(e.tenant, e.eid, e.status) FROM unnest(p_ended) e;
	END IF;
	IF v_chatted THEN
		PERFORM control.end_chat(p_ended);
	END IF;
END $$;

CREATE FUNCTION control.terminal(p_tenant int, p_eid uuid, p_status text, p_epoch int, p_started timestamptz,
                                 p_outputs json, p_error json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.terminal_batch(ARRAY[
		ROW(p_tenant, p_eid, p_status, p_epoch, p_started, p_outputs, p_error)::control.ended]);
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.accept_batch(json) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION api.time(timestamptz), api.read_time(text, text), api.refuse(text, text, text, text),
	api.missing(text), api.check_match(text, int, text), api.page_info(int, int, bigint) TO windlass_web;
GRANT USAGE ON SCHEMA api TO windlass_web;
