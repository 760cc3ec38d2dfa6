-- Exports: flows, the audit log or executions as a file that is asked for, made in the background and kept for a while.
--
-- The export's row stands in the tenant's schema; its file is an artifact of kind "export", so the object store, the
-- storage quota and the trash treat it as they treat all artifacts (0012). control.export_work is what the schedulers go
-- by: a scheduler claims an export for a time that it prolongs page by page. One that dies lets its claim run out, and
-- another begins anew; whatever a late one still does names a claim that no longer counts.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.export_work (
	id      uuid PRIMARY KEY,
	tenant  int      NOT NULL,
	user_id uuid     NOT NULL,
	state   "char"   NOT NULL DEFAULT 'Q', -- Q waits, R is being made, D ready or failed
	due     timestamptz NOT NULL DEFAULT clock_timestamp(), -- Q: not before; R: the claim ends; D: it expires
	tries   smallint NOT NULL DEFAULT 0, -- claims whose makers did not tell how they ended
	claim   uuid
);
CREATE INDEX export_work_due ON control.export_work (due, id);
CREATE INDEX export_work_tenant ON control.export_work (tenant, state);

CREATE FUNCTION control.tenant_ddl_0014_exports(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		ALTER TABLE %1$I.artifacts ALTER COLUMN execution_id DROP NOT NULL, ALTER COLUMN node_id DROP NOT NULL,
			ADD CHECK ((kind NOT IN ('export', 'upload')) = (execution_id IS NOT NULL AND node_id IS NOT NULL));
		CREATE TABLE %1$I.exports (
			id           uuid PRIMARY KEY,
			kind         text NOT NULL,
			format       text NOT NULL,
			options      json NOT NULL, -- of the request: flow_id, version, flow_ids, filters
			role         text NOT NULL, -- with which it was asked for: nobody of a lower one sees it
			created_by   uuid NOT NULL,
			created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
			name         text NOT NULL,
			content_type text NOT NULL,
			state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'ready', 'failed')),
			error        text,
			entries      bigint,
			artifact_id  uuid,
			flow_ids     uuid[] NOT NULL DEFAULT '{}', -- what of flows is in it
			finished_at  timestamptz,
			expires_at   timestamptz
		);
		CREATE INDEX ON %1$I.exports (created_at DESC, id DESC);
		GRANT SELECT, INSERT ON %1$I.exports TO %1$I; -- changed by the functions below alone
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0014_exports');

-- ---- asking and giving up: in a tenant's transaction ------------------------------------------------------------

-- Let the schedulers know of an export that this transaction adds. Exact under parallel calls.
CREATE FUNCTION control.export_queue(p_id uuid, p_user uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_count  record;
BEGIN
	PERFORM control.tenant_lock('exports');
	SELECT count(*) AS kept, count(*) FILTER (WHERE state <> 'D') AS waiting,
	       count(*) FILTER (WHERE state <> 'D' AND user_id = p_user) AS own
	INTO v_count FROM control.export_work WHERE tenant = v_tenant;
	IF v_count.own >= 5 OR v_count.waiting >= 20 THEN
		RAISE EXCEPTION 'as many exports wait to be made as may' USING ERRCODE = 'WL429',
			DETAIL = CASE WHEN v_count.own >= 5
			         THEN json_build_object('limit', 5, 'used', v_count.own, 'resets_s', 5)
			         ELSE json_build_object('limit', 20, 'used', v_count.waiting, 'resets_s', 5) END::text;
	ELSIF v_count.kept >= 200 THEN
		RAISE EXCEPTION 'as many exports are kept as may; delete some' USING ERRCODE = 'WL409';
	END IF;
	INSERT INTO control.export_work (id, tenant, user_id) VALUES (p_id, v_tenant, p_user);
END $$;

-- The export that was asked for with this key before; NULL: none is there, so it is p_id from now on. p_hash is that of what
-- is asked for.
CREATE FUNCTION control.export_once(p_key text, p_hash bytea, p_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_idem   control.idem;
BEGIN
	INSERT INTO control.idem (tenant, key, req_hash, eid) VALUES (v_tenant, p_key, p_hash, p_id) ON CONFLICT DO NOTHING;
	IF FOUND THEN
		RETURN NULL;
	END IF;
	SELECT * INTO v_idem FROM control.idem WHERE tenant = v_tenant AND key = p_key FOR UPDATE;
	IF v_idem.req_hash IS DISTINCT FROM p_hash THEN
		RAISE EXCEPTION 'this Idempotency-Key was used with another body' USING ERRCODE = 'WL422';
	ELSIF EXISTS (SELECT FROM control.export_work WHERE id = v_idem.eid AND tenant = v_tenant) THEN
		RETURN v_idem.eid;
	END IF;
	UPDATE control.idem SET eid = p_id WHERE tenant = v_tenant AND key = p_key; -- deleted since, or expired
	RETURN NULL;
END $$;

-- Take an export away, wherever it stands; false when there is none. Locks in this order: work, storage, the rest.
CREATE FUNCTION control.export_drop(p_tenant int, p_id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	v_artifact uuid;
	v_found    int;
BEGIN
	DELETE FROM control.export_work WHERE id = p_id AND tenant = p_tenant;
	EXECUTE format('DELETE FROM t_%s.exports WHERE id = $1 RETURNING artifact_id', p_tenant) INTO v_artifact USING p_id;
	GET DIAGNOSTICS v_found = ROW_COUNT;
	IF v_artifact IS NOT NULL THEN
		PERFORM control.artifacts_drop(p_tenant, 'id = $1', v_artifact);
	END IF;
	RETURN v_found > 0;
END $$;

CREATE FUNCTION control.export_delete(p_id uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.export_drop(control.tenant_of_role(), p_id)
$$;

-- ---- making: the schedulers ----------------------------------------------------------------------------------------
-- Requests have "tenant", "id" and "claim" as export_take() gave them; "keep_days": how long an ended export stays,
-- unless the tenant's plan keeps things for a shorter time.

CREATE FUNCTION control.export_expiry(p_tenant int, p_request json) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
	SELECT clock_timestamp() + least((p_request->>'keep_days')::int, retention_days) * interval '1 day'
	FROM control.quota WHERE tenant = p_tenant
$$;

CREATE FUNCTION control.export_set_failed(p_tenant int, p_id uuid, p_error text, p_request json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_expires timestamptz := control.export_expiry(p_tenant, p_request);
BEGIN
	EXECUTE format('UPDATE t_%s.exports SET state = ''failed'', error = $2, finished_at = clock_timestamp(), expires_at = $3
	                WHERE id = $1', p_tenant) USING p_id, p_error, v_expires;
	UPDATE control.export_work SET state = 'D', due = v_expires, claim = NULL WHERE id = p_id;
END $$;

-- Why an export is not to be made (any more); NULL: it is.
CREATE FUNCTION control.export_refusal(p_work control.export_work, p_export record, p_request json) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_role text := (SELECT role FROM control.app_user WHERE id = p_work.user_id AND tenant = p_work.tenant
	                AND state = 'active');
BEGIN
	RETURN CASE
		WHEN v_role IS NULL THEN 'the account of who asked for it is closed'
		WHEN control.role_rank(v_role) < control.role_rank(p_export.role) THEN 'the role of who asked for it was lowered'
		WHEN p_work.tries >= (p_request->>'tries')::int THEN format('it could not be made in %s attempts', p_work.tries)
	END;
END $$;

-- Whether an export of the tenant is being made, as far as its claim tells.
CREATE FUNCTION control.export_under_way(p_tenant int) RETURNS boolean
LANGUAGE plpgsql AS $$ -- volatile: what another transaction has just committed counts
BEGIN
	RETURN EXISTS (SELECT FROM control.export_work WHERE tenant = p_tenant AND state = 'R' AND due > clock_timestamp());
END $$;

-- Do what is due with one export: NULL when that is all, else what a scheduler needs to make it.
CREATE FUNCTION control.export_turn(p_work control.export_work, p_request json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_export  record;
	v_refusal text;
	v_claim   uuid := gen_random_uuid();
BEGIN
	IF p_work.state = 'D' THEN
		PERFORM control.export_drop(p_work.tenant, p_work.id);
		RETURN NULL;
	END IF;
	EXECUTE format('SELECT * FROM t_%s.exports WHERE id = $1', p_work.tenant) INTO v_export USING p_work.id;
	v_refusal := control.export_refusal(p_work, v_export, p_request);
	IF v_refusal IS NOT NULL THEN
		PERFORM control.export_set_failed(p_work.tenant, p_work.id, v_refusal, p_request);
		RETURN NULL;
	END IF;
	-- one of a tenant at a time, also when two schedulers come at once
	PERFORM pg_advisory_xact_lock(7214, p_work.tenant);
	IF control.export_under_way(p_work.tenant) THEN
		RETURN NULL;
	END IF;
	EXECUTE format('UPDATE t_%s.exports SET state = ''running'' WHERE id = $1', p_work.tenant) USING p_work.id;
	UPDATE control.export_work SET state = 'R', tries = tries + 1, claim = v_claim,
	       due = clock_timestamp() + (p_request->>'lease_s')::int * interval '1 s' WHERE id = p_work.id;
	-- what else the tenant asked for goes behind what others did
	UPDATE control.export_work SET due = clock_timestamp() WHERE id IN (
		SELECT id FROM control.export_work WHERE tenant = p_work.tenant AND state = 'Q' AND due < now()
		FOR UPDATE SKIP LOCKED);
	RETURN json_build_object('tenant', p_work.tenant, 'id', p_work.id, 'claim', v_claim, 'kind', v_export.kind,
		'format', v_export.format);
END $$;

-- {"lease_s","keep_days","tries"}: an export to make, {"tenant","id","claim","kind","format"}, or NULL. One of a tenant at
-- a time; what expired is dropped on the way. A tenant that cannot be worked on (its tables are damaged or locked) is
-- passed over for a minute.
CREATE FUNCTION control.export_take(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_work control.export_work;
	v_made json;
BEGIN
	FOR n IN 1 .. 20 LOOP
		SELECT w.* INTO v_work FROM control.export_work w JOIN control.tenant t ON t.id = w.tenant
		WHERE w.due <= now() AND (w.state = 'D' OR t.state = 'active')
		  AND NOT (w.state = 'Q' AND control.export_under_way(w.tenant))
		ORDER BY w.due, w.id LIMIT 1 FOR UPDATE OF w SKIP LOCKED;
		EXIT WHEN NOT FOUND;
		BEGIN
			v_made := control.export_turn(v_work, p_request);
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'export % of tenant % cannot be worked on: %', v_work.id, v_work.tenant, SQLERRM;
			UPDATE control.export_work SET due = clock_timestamp() + interval '1 minute' WHERE id = v_work.id;
		END;
		EXIT WHEN v_made IS NOT NULL;
	END LOOP;
	RETURN v_made;
END $$;

-- Whether a claim still counts; its row is held until the end of the transaction.
CREATE FUNCTION control.export_is_mine(p_request json) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM control.export_work WHERE id = (p_request->>'id')::uuid AND tenant = (p_request->>'tenant')::int
	AND state = 'R' AND claim = (p_request->>'claim')::uuid FOR UPDATE;
	RETURN FOUND;
END $$;

-- Prolong a claim by {"lease_s"}; what the next page needs, or NULL when the claim does not count any more.
CREATE FUNCTION control.export_hold(p_request json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_tenant int := (p_request->>'tenant')::int;
	v_export record;
BEGIN
	IF NOT control.export_is_mine(p_request) THEN
		RETURN NULL;
	END IF;
	UPDATE control.export_work SET due = clock_timestamp() + (p_request->>'lease_s')::int * interval '1 s'
	WHERE id = (p_request->>'id')::uuid;
	EXECUTE format('SELECT * FROM t_%s.exports WHERE id = $1', v_tenant) INTO v_export USING (p_request->>'id')::uuid;
	RETURN json_build_object('kind', v_export.kind, 'options', v_export.options, 'actor', json_build_object(
		'user', v_export.created_by, 'role', v_export.role, 'tenant', v_tenant),
		'limit', control.storage_limit(v_tenant), 'used',
		coalesce((SELECT bytes FROM control.usage_storage WHERE tenant = v_tenant), 0));
END $$;

-- The next page of an export, behind {"after"} (NULL: the first): {"outcome","limit","used","page"}. outcome is ok, gone,
-- or refused with "error". The tenant is that of the claim. Its tables are found by search_path, as in a transaction of
-- its own, so that the functions of the API tell what may be seen by who asked for it.
CREATE FUNCTION control.export_holds_flows(p_tenant int, p_id uuid, p_flows json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('UPDATE t_%s.exports e SET flow_ids = ARRAY(SELECT unnest(e.flow_ids) UNION
		SELECT f::uuid FROM json_array_elements_text($2) f WHERE f IS NOT NULL) WHERE e.id = $1', p_tenant)
	USING p_id, coalesce(p_flows, '[]');
END $$;

CREATE FUNCTION control.export_page(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int  := (p_request->>'tenant')::int;
	v_held   json := control.export_hold(p_request);
	v_page   json;
BEGIN
	IF v_held IS NULL THEN
		RETURN json_build_object('outcome', 'gone');
	END IF;
	EXECUTE format('SET LOCAL search_path TO t_%s, pg_temp', v_tenant);
	v_page := CASE v_held->>'kind'
		WHEN 'flow' THEN control.export_flow(v_held->'actor', v_held->'options')
		WHEN 'flows' THEN control.export_flows(v_held->'actor', v_held->'options', (p_request->>'after')::uuid)
		WHEN 'executions' THEN control.export_executions(v_held->'actor', v_held->'options', p_request->>'after')
		ELSE control.export_audit_log(v_tenant, v_held->'options') END;
	PERFORM control.export_holds_flows(v_tenant, (p_request->>'id')::uuid, v_page->'flows');
	RETURN json_build_object('outcome', 'ok', 'limit', v_held->'limit', 'used', v_held->'used', 'page', v_page);
EXCEPTION WHEN OTHERS THEN
	IF SQLSTATE NOT LIKE 'WL%' THEN
		RAISE;
	END IF;
	RETURN json_build_object('outcome', 'refused', 'error', SQLERRM);
END $$;

-- Before the file is written, {"artifact" (its id),"size","lease_s"}: {"outcome","limit","used"}, outcome ok, quota or gone.
CREATE FUNCTION control.export_begin(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant  int    := (p_request->>'tenant')::int;
	v_size    bigint := (p_request->>'size')::bigint;
	v_limit   bigint := control.storage_limit(v_tenant);
	v_used    bigint := coalesce((SELECT bytes FROM control.usage_storage WHERE tenant = v_tenant), 0);
	v_upload  interval := v_size / 1000000 * interval '1 s'; -- a store that takes less than 1 MB/s is as good as away
	v_outcome text   := 'ok';
BEGIN
	IF NOT control.export_is_mine(p_request) THEN
		v_outcome := 'gone';
	ELSIF v_used + v_size > v_limit THEN
		v_outcome := 'quota';
	ELSE
		UPDATE control.export_work SET due = clock_timestamp() + v_upload + (p_request->>'lease_s')::int * interval '1 s'
		WHERE id = (p_request->>'id')::uuid;
		INSERT INTO control.object_trash (key, tenant, due) VALUES (
			control.artifact_key(v_tenant, (p_request->>'id')::uuid, (p_request->>'artifact')::uuid), v_tenant,
			clock_timestamp() + v_upload + interval '2 hours');
	END IF;
	RETURN json_build_object('outcome', v_outcome, 'limit', v_limit, 'used', v_used);
END $$;

-- The file is written, {"artifact","size","sha256","entries","keep_days"}: the export is ready. Outcome as above, and late.
CREATE FUNCTION control.export_commit(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant  int    := (p_request->>'tenant')::int;
	v_id      uuid   := (p_request->>'id')::uuid;
	v_key     text   := control.artifact_key(v_tenant, v_id, (p_request->>'artifact')::uuid);
	v_size    bigint := (p_request->>'size')::bigint;
	v_mine    boolean := control.export_is_mine(p_request);
	v_expires timestamptz := control.export_expiry(v_tenant, p_request);
	v_limit   bigint;
	v_used    bigint;
	v_outcome text   := 'ok';
BEGIN
	INSERT INTO control.usage_storage (tenant) VALUES (v_tenant) ON CONFLICT DO NOTHING;
	SELECT bytes INTO v_used FROM control.usage_storage WHERE tenant = v_tenant FOR UPDATE;
	v_limit := control.storage_limit(v_tenant);
	PERFORM FROM control.object_trash WHERE key = v_key AND tries = 0 FOR UPDATE;
	IF NOT FOUND THEN
		v_outcome := 'late';
	END IF;
	IF NOT v_mine THEN
		v_outcome := 'gone';
	ELSIF v_used + v_size > v_limit THEN
		v_outcome := 'quota';
	END IF;
	IF v_outcome = 'ok' THEN
		DELETE FROM control.object_trash WHERE key = v_key;
		EXECUTE format('INSERT INTO t_%1$s.artifacts (id, name, kind, content_type, size, sha256, object_key, created_by)
		                SELECT $2, name, ''export'', content_type, $3, decode($4, ''hex''), $5, created_by
		                FROM t_%1$s.exports WHERE id = $1', v_tenant)
		USING v_id, (p_request->>'artifact')::uuid, v_size, p_request->>'sha256', v_key;
		EXECUTE format('UPDATE t_%s.exports SET state = ''ready'', entries = $2, artifact_id = $3,
		                finished_at = clock_timestamp(), expires_at = $4 WHERE id = $1', v_tenant)
		USING v_id, (p_request->>'entries')::bigint, (p_request->>'artifact')::uuid, v_expires;
		UPDATE control.usage_storage SET bytes = v_used + v_size WHERE tenant = v_tenant;
		UPDATE control.export_work SET state = 'D', due = v_expires, claim = NULL WHERE id = v_id;
	ELSE
		UPDATE control.object_trash SET due = clock_timestamp() WHERE key = v_key AND tries = 0;
	END IF;
	RETURN json_build_object('outcome', v_outcome, 'limit', v_limit, 'used', v_used);
END $$;

-- It cannot be made now, {"error","delay_s","count","keep_days"}: somebody tries again for a day, after delay_s and, unless
-- that is 0, after a quarter of the time that it has waited already, up to five minutes. Without
-- count the attempt is none that speaks against the export. What it began to store is in the trash, due later than anything
-- that is still under way can arrive.
CREATE FUNCTION control.export_release(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int  := (p_request->>'tenant')::int;
	v_id     uuid := (p_request->>'id')::uuid;
	v_since  timestamptz;
	v_delay  interval := (p_request->>'delay_s')::int * interval '1 s';
BEGIN
	IF NOT control.export_is_mine(p_request) THEN
		RETURN NULL;
	END IF;
	EXECUTE format('SELECT created_at FROM t_%s.exports WHERE id = $1', v_tenant) INTO v_since USING v_id;
	IF v_since < now() - interval '1 day' THEN
		PERFORM control.export_set_failed(v_tenant, v_id, p_request->>'error', p_request);
		RETURN NULL;
	END IF;
	EXECUTE format('UPDATE t_%s.exports SET state = ''queued'' WHERE id = $1', v_tenant) USING v_id;
	UPDATE control.export_work SET state = 'Q', claim = NULL,
	       due = clock_timestamp() + CASE WHEN v_delay = '0' THEN v_delay
	             ELSE greatest(v_delay, least((clock_timestamp() - v_since) / 4, interval '5 minutes')) END,
	       tries = tries - CASE WHEN (p_request->>'count')::boolean THEN 0 ELSE 1 END WHERE id = v_id;
	RETURN NULL;
END $$;

-- It cannot be made: {"error","keep_days"}.
CREATE FUNCTION control.export_fail(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	IF control.export_is_mine(p_request) THEN
		PERFORM control.export_set_failed((p_request->>'tenant')::int, (p_request->>'id')::uuid, p_request->>'error',
		                                  p_request);
	END IF;
	RETURN NULL;
END $$;

-- ---- pages: with the tenant's tables in search_path ---------------------------------------------------------------
-- Each is {"rows","next"}, next being what the page behind it begins after, with "flows": whose content is in it.

CREATE FUNCTION control.export_flow(p_actor json, p_options json) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('rows', json_build_array((api.flows_export(p_actor, json_build_object('params',
		json_build_object('id', p_options->'flow_id', 'version', p_options->>'version')))).body), 'next', NULL,
		'flows', json_build_array(p_options->'flow_id'))
$$;

-- {"name","description","document"} of flows that p_actor may see, oldest first; at least one, more while they are small.
CREATE FUNCTION control.export_flows(p_actor json, p_options json, p_after uuid) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_ids   uuid[] := (SELECT array_agg(x::uuid) FROM json_array_elements_text(p_options->'flow_ids') x);
	v_rows  json[] := '{}';
	v_shown uuid[] := '{}';
	v_bytes bigint := 0;
	v_doc   json;
	v_seen  int := 0;
	v_flow  record;
BEGIN
	FOR v_flow IN SELECT f.id, f.name, f.description, f.draft_hash FROM flows f
		WHERE f.deleted_at IS NULL AND (p_after IS NULL OR f.id > p_after) AND (v_ids IS NULL OR f.id = ANY (v_ids))
		ORDER BY f.id LIMIT 200
	LOOP
		v_seen := v_seen + 1;
		IF api.flow_access(p_actor, v_flow.id) <> 'none' THEN
			SELECT d.doc INTO v_doc FROM flow_docs d WHERE d.hash = v_flow.draft_hash;
			v_rows := v_rows || json_build_object('name', v_flow.name, 'description', v_flow.description, 'document', v_doc);
			v_shown := v_shown || v_flow.id;
			v_bytes := v_bytes + octet_length(v_doc::text);
		END IF;
		IF v_bytes > 2000000 OR v_seen = 200 THEN
			RETURN json_build_object('rows', to_json(v_rows), 'next', v_flow.id, 'flows', to_json(v_shown));
		END IF;
	END LOOP;
	RETURN json_build_object('rows', to_json(v_rows), 'next', NULL, 'flows', to_json(v_shown));
END $$;

-- As in api.executions_list(), which needs a tenant's own transaction to see what is in flight.
CREATE FUNCTION control.export_executions(p_actor json, p_options json, p_after text) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params jsonb := coalesce(p_options->'filters', '{}')::jsonb || jsonb_strip_nulls(jsonb_build_object('cursor', p_after));
	v_live   text  := CASE WHEN v_params->>'status' IN ('queued', 'running') THEN v_params->>'status' END;
	v_rows   json;
	v_next   text;
	v_flows  json;
BEGIN
	EXECUTE format($sql$
		WITH page AS MATERIALIZED (
			SELECT e.* FROM executions e LEFT JOIN flows f ON f.id = e.flow_id WHERE %s AND ($3 IS NULL
				OR e.status IN ('queued', 'running') AND $3 = (SELECT api.execution_status('queued', d.state)
				                                               FROM control.dispatch d WHERE d.eid = e.id))
			ORDER BY e.created_at DESC, e.id DESC LIMIT 500),
		shown AS (
			SELECT p.*, d.state AS live_state, d.started_at, control.run_usage($4, p.id) AS usage, row_number() OVER (ORDER BY p.created_at DESC, p.id DESC) AS place
			FROM page p LEFT JOIN LATERAL (SELECT state, started_at FROM control.dispatch WHERE eid = p.id LIMIT 1) d
			     ON p.status IN ('queued', 'running'))
		SELECT coalesce(json_agg(api.execution_summary(s) ORDER BY s.place), '[]'),
		       max((extract(epoch FROM s.created_at) * 1000000)::bigint || '_' || s.id) FILTER (WHERE s.place = 500),
		       coalesce(json_agg(DISTINCT s.flow_id), '[]')
		FROM shown s $sql$, api.executions_where((CASE WHEN v_live IS NULL THEN v_params ELSE v_params - 'status' END)::json,
		                                         p_actor->>'role', 1))
	INTO v_rows, v_next, v_flows USING v_params::json, (p_actor->>'user')::uuid, v_live, (p_actor->>'tenant')::int;
	RETURN json_build_object('rows', v_rows, 'next', v_next, 'flows', v_flows);
END $$;

-- Of the audit log, whose entries lie elsewhere: what is looked for, times in the form that entries have theirs in, and
-- up to which number they have left for there.
CREATE FUNCTION control.export_audit_log(p_tenant int, p_options json) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('filters', p_options->'filters',
		'from', to_char(api.read_time(p_options#>>'{filters,from}', 'from') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'to', to_char(api.read_time(p_options#>>'{filters,to}', 'to') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'shipped_seq', coalesce((SELECT min(seq) - 1 FROM control.audit_outbox WHERE tenant = p_tenant AND seq IS NOT NULL),
		                        (SELECT seq FROM control.audit_head WHERE tenant = p_tenant), 0))
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.export_queue(uuid, uuid), control.export_once(text, bytea, uuid),
	control.export_delete(uuid), control.role_rank(text) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.export_take(json), control.export_page(json), control.export_begin(json),
	control.export_commit(json), control.export_release(json), control.export_fail(json) TO windlass_engine;

-- ---- operations --------------------------------------------------------------------------------------------------

-- Who may know of an export: who asked for it and admins, with the role that it was made with, or a higher one.
CREATE FUNCTION api.export_is_shown(p_actor json, p_owner uuid, p_role text) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT (p_actor->>'role' = 'admin' OR p_owner = (p_actor->>'user')::uuid)
	       AND control.role_rank(p_actor->>'role') >= control.role_rank(p_role)
$$;

CREATE FUNCTION api.export_json(p_row record) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_file record;
BEGIN
	SELECT a.size, encode(a.sha256, 'hex') AS sha256 INTO v_file FROM artifacts a WHERE a.id = p_row.artifact_id;
	RETURN json_build_object('id', p_row.id, 'kind', p_row.kind, 'format', p_row.format, 'options', p_row.options,
		'state', p_row.state, 'name', p_row.name, 'content_type', p_row.content_type, 'size', v_file.size,
		'sha256', v_file.sha256, 'entries', p_row.entries, 'error', p_row.error, 'created_by', p_row.created_by,
		'created_at', api.time(p_row.created_at), 'finished_at', api.time(p_row.finished_at),
		'expires_at', api.time(p_row.expires_at));
END $$;

CREATE FUNCTION api.export_need(p_actor json, p_request json) RETURNS record
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	SELECT * INTO v_row FROM exports e WHERE e.id = (p_request#>>'{params,id}')::uuid
	AND api.export_is_shown(p_actor, e.created_by, e.role);
	IF NOT FOUND THEN
		PERFORM api.missing('export');
	END IF;
	RETURN v_row;
END $$;

-- What a body may have beside kind and format, and which filters; NULL: no such format of that kind.
CREATE FUNCTION api.export_members(p_kind text, p_format text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_kind = 'flow' AND p_format IN ('json', 'yaml') THEN ARRAY['flow_id', 'version']
	            WHEN p_kind = 'flows' AND p_format IN ('json', 'yaml', 'ndjson') THEN ARRAY['flow_ids']
	            WHEN p_kind IN ('audit_log', 'executions') AND p_format IN ('ndjson', 'csv') THEN ARRAY['filters'] END
$$;
CREATE FUNCTION api.export_filters(p_kind text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE p_kind WHEN 'audit_log' THEN ARRAY['from', 'to', 'action', 'user_id', 'resource_type', 'resource_id']
	       ELSE ARRAY['status', 'flow_id', 'created_by', 'source', 'source_id', 'label', 'created_after', 'created_before'] END
$$;

-- Check what is asked for beside kind and format, and give it back.
CREATE FUNCTION api.export_options(p_actor json, p_body json, p_format text) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_kind    text   := p_body->>'kind';
	v_members text[] := api.export_members(v_kind, p_format);
	v_options jsonb  := p_body::jsonb - 'kind' - 'format';
	v_filters jsonb  := coalesce(v_options->'filters', '{}');
	v_wrong   text;
BEGIN
	IF v_members IS NULL THEN
		PERFORM api.refuse('WL422', 'there is no such export', 'format', 'is no format of ' || v_kind);
	END IF;
	SELECT n INTO v_wrong FROM (SELECT key AS n FROM jsonb_object_keys(v_options) key WHERE key <> ALL (v_members) UNION ALL
		SELECT 'filters.' || key FROM jsonb_object_keys(v_filters) key WHERE key <> ALL (api.export_filters(v_kind))) w LIMIT 1;
	IF v_wrong IS NOT NULL THEN
		PERFORM api.refuse('WL422', 'there is no such export', v_wrong, 'means nothing to an export of ' || v_kind);
	END IF;
	IF v_kind = 'flow' THEN
		IF v_options->>'flow_id' IS NULL THEN
			PERFORM api.refuse('WL422', 'an export of one flow names it', 'flow_id', 'is missing');
		END IF;
		PERFORM api.need_flow(p_actor, (v_options->>'flow_id')::uuid, 'view');
		PERFORM api.flow_document((v_options->>'flow_id')::uuid, v_options->>'version', 'version');
	ELSIF v_kind = 'flows' THEN
		PERFORM api.need_flow(p_actor, x::uuid, 'view') FROM jsonb_array_elements_text(v_options->'flow_ids') x;
	ELSE
		PERFORM api.read_time(v_filters->>name, 'filters.' || name)
		FROM unnest(ARRAY['from', 'to', 'created_after', 'created_before']) name;
		PERFORM api.label_filter(v_filters->>'label');
	END IF;
	RETURN v_options;
END $$;

-- The file's name: that of the flow, or what it is and of which day.
CREATE FUNCTION api.export_name(p_kind text, p_format text, p_options json) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_base text := replace(p_kind, '_', '-') || '-' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
BEGIN
	IF p_kind = 'flow' THEN
		SELECT coalesce(nullif(left(btrim(regexp_replace(f.name, '[^A-Za-z0-9_]+', '-', 'g'), '-'), 60), ''), 'flow')
		INTO v_base FROM flows f WHERE f.id = (p_options->>'flow_id')::uuid;
	END IF;
	RETURN v_base || '.' || p_format;
END $$;

CREATE FUNCTION api.exports_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body    json := p_request->'body';
	v_kind    text := v_body->>'kind';
	v_format  text := coalesce(v_body->>'format', CASE WHEN v_kind IN ('flow', 'flows') THEN 'yaml' ELSE 'ndjson' END);
	v_key     text := p_request#>>'{params,Idempotency-Key}';
	v_id      uuid := api.uuid7();
	v_known   uuid;
	v_options json;
	v_row     record;
BEGIN
	IF v_kind = 'audit_log' AND p_actor->>'role' <> 'admin' THEN
		RAISE EXCEPTION 'an export of the audit log takes the role admin' USING ERRCODE = 'WL403';
	END IF;
	v_options := api.export_options(p_actor, v_body, v_format);
	IF v_key IS NOT NULL THEN
		v_known := control.export_once(v_key, sha256(convert_to('export ' || (p_actor->>'user') || v_body::text, 'UTF8')), v_id);
		SELECT * INTO v_row FROM exports WHERE id = v_known;
		IF FOUND THEN
			RETURN ROW(202, json_build_object('export', api.export_json(v_row)), NULL, '/api/v1/exports/' || v_known,
			           NULL)::api.answer;
		END IF;
	END IF;
	INSERT INTO exports (id, kind, format, options, role, created_by, name, content_type)
	VALUES (v_id, v_kind, v_format, v_options, p_actor->>'role', (p_actor->>'user')::uuid,
	        api.export_name(v_kind, v_format, v_options), CASE v_format WHEN 'json' THEN 'application/json'
	        WHEN 'yaml' THEN 'application/yaml' WHEN 'ndjson' THEN 'application/x-ndjson' ELSE 'text/csv' END)
	RETURNING * INTO v_row;
	PERFORM control.export_queue(v_row.id, v_row.created_by);
	PERFORM control.audit(p_actor, 'export.create', 'export', v_row.id::text,
		json_build_object('kind', v_kind, 'format', v_format, 'options', v_options));
	RETURN ROW(202, json_build_object('export', api.export_json(v_row)), NULL, '/api/v1/exports/' || v_row.id,
	           NULL)::api.answer;
END $$;

CREATE FUNCTION api.exports_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params json := p_request->'params';
	v_page   int := (v_params->>'page')::int;
	v_limit  int := (v_params->>'limit')::int;
	v_total  bigint;
	v_rows   json;
BEGIN
	WITH mine AS MATERIALIZED (SELECT e.id, e.created_at FROM exports e
		WHERE (v_params->>'kind' IS NULL OR e.kind = v_params->>'kind')
		  AND (v_params->>'state' IS NULL OR e.state = v_params->>'state')
		  AND api.export_is_shown(p_actor, e.created_by, e.role)),
	page AS (SELECT m.id FROM mine m ORDER BY m.created_at DESC, m.id DESC
	         LIMIT v_limit OFFSET (v_page - 1)::bigint * v_limit)
	SELECT (SELECT count(*) FROM mine),
	       (SELECT coalesce(json_agg(api.export_json(e) ORDER BY e.created_at DESC, e.id DESC), '[]')
	        FROM page JOIN exports e USING (id)) INTO v_total, v_rows;
	RETURN ROW(200, json_build_object('exports', v_rows, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.exports_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN ROW(200, json_build_object('export', api.export_json(api.export_need(p_actor, p_request))), NULL, NULL,
	           NULL)::api.answer;
END $$;

-- For the server's handler, which reads the object.
CREATE FUNCTION api.exports_content(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_export record := api.export_need(p_actor, p_request);
	v_file   record;
BEGIN
	IF v_export.state <> 'ready' THEN
		RAISE EXCEPTION '%', CASE WHEN v_export.state = 'failed' THEN 'the export has failed: ' || v_export.error
			ELSE 'the export is not ready yet' END USING ERRCODE = 'WL409';
	END IF;
	-- what was shared or open when it was made may be private by now
	IF EXISTS (SELECT FROM flows f WHERE f.id = ANY (v_export.flow_ids) AND f.visibility = 'private'
	           AND api.flow_access(p_actor, f.id) = 'none') THEN
		RAISE EXCEPTION 'the export holds flows that you may not see any more: ask for a new one' USING ERRCODE = 'WL403';
	END IF;
	SELECT * INTO v_file FROM artifacts a WHERE a.id = v_export.artifact_id;
	RETURN ROW(200, json_build_object('key', v_file.object_key, 'name', v_file.name, 'size', v_file.size,
	           'content_type', v_file.content_type), encode(v_file.sha256, 'hex'), NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.exports_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_export record := api.export_need(p_actor, p_request);
BEGIN
	IF NOT control.export_delete(v_export.id) THEN
		PERFORM api.missing('export');
	END IF;
	PERFORM control.audit(p_actor, 'export.delete', 'export', v_export.id::text,
		json_build_object('kind', v_export.kind, 'format', v_export.format, 'name', v_export.name));
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;
