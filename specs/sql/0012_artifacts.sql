-- Files that runs leave behind, and those that people upload. A file's bytes lie in the object store under
-- <tenant>/<execution>/<artifact> or <tenant>/uploads/<artifact>, its row in the tenant's schema. Objects never change: a
-- node that runs again gets new ones.
--
-- An object without a row is never lost sight of: before it is written its key is in control.object_trash, due much
-- later than any upload takes, and only the transaction that adds the row takes it out. Whatever drops a row puts the
-- key there in the same transaction. A chore of the schedulers empties it.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.usage_storage (
	tenant int PRIMARY KEY,
	bytes  bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0)
) WITH (fillfactor = 50);

CREATE TABLE control.object_trash (
	key    text PRIMARY KEY,
	tenant int         NOT NULL,
	due    timestamptz NOT NULL DEFAULT clock_timestamp(),
	tries  int         NOT NULL DEFAULT 0 -- not 0: its removal has begun
);
CREATE INDEX object_trash_due ON control.object_trash (due);

CREATE FUNCTION control.tenant_ddl_0012_artifacts(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		CREATE TABLE %1$I.artifacts (
			id           uuid PRIMARY KEY,
			execution_id uuid NOT NULL,
			node_id      text NOT NULL,
			name         text NOT NULL,
			kind         text NOT NULL DEFAULT 'output',
			content_type text NOT NULL,
			size         bigint NOT NULL CHECK (size >= 0),
			sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
			object_key   text NOT NULL,
			created_by   uuid NOT NULL,
			created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
			UNIQUE (execution_id, node_id, name)
		);
		CREATE INDEX ON %1$I.artifacts (created_at DESC, id DESC);
		GRANT SELECT ON %1$I.artifacts TO %1$I; -- written by the functions below alone
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0012_artifacts');

-- ---- storing: the supervisor ----------------------------------------------------------------------------------

-- One file that a node left.
CREATE TYPE control.artifact_item AS (id uuid, name text, size bigint, sha256 text, content_type text);

CREATE FUNCTION control.artifact_key(p_tenant int, p_eid uuid, p_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT p_tenant || '/' || p_eid || '/' || p_id $$;

CREATE FUNCTION control.artifact_items(p_request json) RETURNS control.artifact_item[]
LANGUAGE sql STABLE AS $$
	SELECT coalesce(array_agg(i ORDER BY i.id), '{}')
	FROM json_populate_recordset(NULL::control.artifact_item, p_request->'items') i
$$;

CREATE FUNCTION control.storage_limit(p_tenant int) RETURNS bigint
LANGUAGE sql STABLE AS $$ SELECT max_storage_gb::bigint << 30 FROM control.quota WHERE tenant = p_tenant $$;

-- Bytes that a tenant's artifacts would take if those of the node were replaced by p_more bytes.
CREATE FUNCTION control.artifacts_would_take(p_tenant int, p_eid uuid, p_node text, p_more bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_old bigint;
BEGIN
	EXECUTE format('SELECT coalesce(sum(size), 0) FROM t_%s.artifacts WHERE execution_id = $1 AND node_id = $2', p_tenant)
	INTO v_old USING p_eid, p_node;
	RETURN coalesce((SELECT bytes FROM control.usage_storage WHERE tenant = p_tenant), 0) - v_old + p_more;
END $$;

-- Both take {"tenant", "eid", "epoch", "node", "items": [artifact_item]} and give {"outcome", "limit", "used"} in bytes.

-- Before a node's files are written: outcome is ok, quota (they would not fit) or gone (this attempt of the execution
-- is no longer the one that counts).
CREATE FUNCTION control.artifacts_begin(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant  int    := p_request->>'tenant';
	v_eid     uuid   := p_request->>'eid';
	v_items   control.artifact_item[] := control.artifact_items(p_request);
	v_more    bigint := (SELECT coalesce(sum(i.size), 0) FROM unnest(v_items) i);
	v_limit   bigint := control.storage_limit(v_tenant);
	v_used    bigint := control.artifacts_would_take(v_tenant, v_eid, p_request->>'node', 0);
	v_outcome text   := 'ok';
BEGIN
	IF NOT EXISTS (SELECT FROM control.dispatch WHERE eid = v_eid AND tenant = v_tenant AND state = 'R'
	               AND epoch = (p_request->>'epoch')::int) THEN
		v_outcome := 'gone';
	ELSIF v_more > 0 AND v_used + v_more > v_limit THEN
		v_outcome := 'quota';
	ELSE
		INSERT INTO control.object_trash (key, tenant, due)
		SELECT control.artifact_key(v_tenant, v_eid, i.id), v_tenant, clock_timestamp() + interval '2 hours'
		FROM unnest(v_items) i;
	END IF;
	RETURN json_build_object('outcome', v_outcome, 'limit', v_limit, 'used', v_used);
END $$;

-- All files of a node are written: they take the place of what an earlier attempt of it left. Outcome as above, and
-- late: the upload took so long that its removal has begun.
CREATE FUNCTION control.artifacts_commit(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant  int    := p_request->>'tenant';
	v_eid     uuid   := p_request->>'eid';
	v_node    text   := p_request->>'node';
	v_items   control.artifact_item[] := control.artifact_items(p_request);
	v_keys    text[] := ARRAY(SELECT control.artifact_key(v_tenant, v_eid, i.id) FROM unnest(v_items) i);
	v_more    bigint := (SELECT coalesce(sum(i.size), 0) FROM unnest(v_items) i);
	v_limit   bigint;
	v_used    bigint;
	v_outcome text   := 'ok';
BEGIN
	-- held until commit: the execution cannot end, nor another attempt begin, in between
	PERFORM FROM control.dispatch WHERE eid = v_eid AND tenant = v_tenant AND state = 'R'
	AND epoch = (p_request->>'epoch')::int FOR SHARE;
	IF NOT FOUND THEN
		v_outcome := 'gone';
	END IF;
	INSERT INTO control.usage_storage (tenant) VALUES (v_tenant) ON CONFLICT DO NOTHING;
	PERFORM FROM control.usage_storage WHERE tenant = v_tenant FOR UPDATE;
	v_limit := control.storage_limit(v_tenant);
	v_used := control.artifacts_would_take(v_tenant, v_eid, v_node, 0);
	PERFORM FROM control.object_trash WHERE key = ANY (v_keys) ORDER BY key FOR UPDATE;
	IF v_outcome = 'ok' AND v_more > 0 AND v_used + v_more > v_limit THEN
		v_outcome := 'quota';
	ELSIF v_outcome = 'ok' AND (SELECT count(*) FROM control.object_trash WHERE key = ANY (v_keys) AND tries = 0)
	                           < cardinality(v_keys) THEN
		v_outcome := 'late';
	END IF;
	IF v_outcome = 'ok' THEN
		DELETE FROM control.object_trash WHERE key = ANY (v_keys);
		EXECUTE format('WITH gone AS (DELETE FROM t_%s.artifacts WHERE execution_id = $1 AND node_id = $2
		                              RETURNING object_key)
		                INSERT INTO control.object_trash (key, tenant) SELECT object_key, $3 FROM gone', v_tenant)
		USING v_eid, v_node, v_tenant;
		EXECUTE format('INSERT INTO t_%1$s.artifacts (id, execution_id, node_id, name, content_type, size, sha256,
		                                              object_key, created_by)
		                SELECT i.id, $2, $3, i.name, i.content_type, i.size, decode(i.sha256, ''hex''),
		                       control.artifact_key($4, $2, i.id), (SELECT user_id FROM t_%1$s.executions WHERE id = $2)
		                FROM unnest($1) i', v_tenant) USING v_items, v_eid, v_node, v_tenant;
		UPDATE control.usage_storage SET bytes = v_used + v_more WHERE tenant = v_tenant;
	ELSE
		UPDATE control.object_trash SET due = clock_timestamp() WHERE key = ANY (v_keys) AND tries = 0;
	END IF;
	RETURN json_build_object('outcome', v_outcome, 'limit', v_limit, 'used', v_used);
END $$;

-- ---- dropping --------------------------------------------------------------------------------------------------
-- Each takes rows out, gives the room back and puts the objects into the trash; how many.

CREATE FUNCTION control.artifacts_drop(p_tenant int, p_where text, p_id uuid) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_count int;
	v_bytes bigint;
BEGIN
	-- the order of locks is that of artifacts_commit: the tenant's counter before rows and trash
	PERFORM FROM control.usage_storage WHERE tenant = p_tenant FOR UPDATE;
	EXECUTE format('WITH gone AS (DELETE FROM t_%s.artifacts WHERE %s RETURNING object_key, size),
	                trash AS (INSERT INTO control.object_trash (key, tenant) SELECT object_key, $2 FROM gone)
	                SELECT count(*)::int, coalesce(sum(size), 0) FROM gone', p_tenant, p_where)
	INTO v_count, v_bytes USING p_id, p_tenant;
	IF v_count > 0 THEN
		UPDATE control.usage_storage SET bytes = bytes - v_bytes WHERE tenant = p_tenant;
	END IF;
	RETURN v_count;
END $$;

-- Of one execution, for retention.
CREATE FUNCTION control.artifacts_drop_execution(p_tenant int, p_eid uuid) RETURNS int
LANGUAGE sql AS $$ SELECT control.artifacts_drop(p_tenant, 'execution_id = $1', p_eid) $$;

-- Of a tenant, before its schema goes.
CREATE FUNCTION control.artifacts_drop_tenant(p_tenant int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_count int := 0;
BEGIN
	IF to_regclass(format('t_%s.artifacts', p_tenant)) IS NOT NULL THEN
		v_count := control.artifacts_drop(p_tenant, 'true OR id = $1', NULL);
	END IF;
	DELETE FROM control.usage_storage WHERE tenant = p_tenant;
	-- what is being written right now: nothing can commit it any more
	UPDATE control.object_trash SET due = clock_timestamp() WHERE tenant = p_tenant AND tries = 0;
	RETURN v_count;
END $$;

-- In a tenant's transaction: one artifact; false when there is none.
CREATE FUNCTION control.artifact_delete(p_id uuid) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.artifacts_drop(control.tenant_of_role(), 'id = $1', p_id) > 0
$$;

-- ---- uploads: in a tenant's transaction --------------------------------------------------------------------------
-- The way of a file is that of a node's: its key stands in the trash before a byte is written, due later than any upload
-- takes, and only the transaction that adds its row takes it out.

CREATE FUNCTION control.upload_key(p_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT control.tenant_of_role() || '/uploads/' || p_id $$;

-- The tenant's counter, held until commit. Refuses what does not fit into its storage.
CREATE FUNCTION control.upload_room(p_size bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_tenant int := control.tenant_of_role();
	v_used   bigint;
BEGIN
	INSERT INTO control.usage_storage (tenant) VALUES (v_tenant) ON CONFLICT DO NOTHING;
	SELECT bytes INTO v_used FROM control.usage_storage WHERE tenant = v_tenant FOR UPDATE;
	IF v_used + p_size > control.storage_limit(v_tenant) THEN
		RAISE EXCEPTION 'the storage of % MiB does not suffice: % MiB are used', control.storage_limit(v_tenant) >> 20,
			round(v_used / 1048576.0, 1) USING ERRCODE = 'WL429';
	END IF;
END $$;

-- Before a file is written: the key to write it under.
CREATE FUNCTION control.upload_begin(p_id uuid, p_size bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM control.upload_room(p_size);
	INSERT INTO control.object_trash (key, tenant, due)
	VALUES (control.upload_key(p_id), control.tenant_of_role(), clock_timestamp() + interval '2 hours');
	RETURN control.upload_key(p_id);
END $$;

-- It is written: {"id","name","size","sha256","content_type"}.
CREATE FUNCTION control.upload_commit(p_actor json, p_file json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int  := control.tenant_of_role();
	v_id     uuid := p_file->>'id';
BEGIN
	PERFORM control.upload_room((p_file->>'size')::bigint);
	DELETE FROM control.object_trash WHERE key = control.upload_key(v_id) AND tries = 0;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'storing the file took too long' USING ERRCODE = 'WL409';
	END IF;
	EXECUTE format('INSERT INTO t_%s.artifacts (id, kind, name, content_type, size, sha256, object_key, created_by)
	                SELECT $1, ''upload'', $2->>''name'', $2->>''content_type'', ($2->>''size'')::bigint,
	                       decode($2->>''sha256'', ''hex''), control.upload_key($1), ($3->>''user'')::uuid', v_tenant)
	USING v_id, p_file, p_actor;
	UPDATE control.usage_storage SET bytes = bytes + (p_file->>'size')::bigint WHERE tenant = v_tenant;
END $$;

-- ---- reading: the supervisor ---------------------------------------------------------------------------------------

-- {"tenant","eid","artifact"}: where the content of an artifact lies that a run names, as {"key","name","size"}. NULL: there
-- is none, or it was left by a private flow that whoever the run is for may not see.
CREATE FUNCTION control.artifact_for_run(p_request json) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := p_request->>'tenant';
	v_row    json;
BEGIN
	EXECUTE format('SELECT json_build_object(''key'', a.object_key, ''name'', a.name, ''size'', a.size)
		FROM t_%1$s.artifacts a JOIN t_%1$s.executions run ON run.id = $2
		LEFT JOIN control.app_user u ON u.id = run.user_id AND u.tenant = $3
		LEFT JOIN t_%1$s.executions e ON e.id = a.execution_id
		LEFT JOIN t_%1$s.flows f ON f.id = e.flow_id
		LEFT JOIN t_%1$s.flow_shares s ON s.flow_id = f.id AND s.user_id = run.user_id
		WHERE a.id = $1 AND (a.kind = ''upload'' OR (a.kind <> ''export'' AND e.id IS NOT NULL
		      AND (f.visibility IS DISTINCT FROM ''private''
		           OR api.access_level(run.user_id, u.role, f.visibility, f.created_by, s.access) > 0)))', v_tenant)
	INTO v_row USING (p_request->>'artifact')::uuid, (p_request->>'eid')::uuid, v_tenant;
	RETURN v_row;
END $$;

-- ---- the trash: the schedulers -----------------------------------------------------------------------------------

-- {"limit": n}: up to n keys to remove now, as an array. Each comes again after a while unless object_trash_done() says
-- that its object is gone; several schedulers share them out.
CREATE FUNCTION control.object_trash_take(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	WITH taken AS (
		UPDATE control.object_trash t SET tries = t.tries + 1,
			due = clock_timestamp() + least(t.tries + 1, 60) * interval '1 minute'
		FROM (SELECT key FROM control.object_trash WHERE due <= now() ORDER BY due -- an index cannot be searched for clock_timestamp()
		      LIMIT (p_request->>'limit')::int FOR UPDATE SKIP LOCKED) d
		WHERE t.key = d.key RETURNING t.key)
	SELECT json_agg(key) FROM taken
$$;

-- {"keys": [...]}: these are removed.
CREATE FUNCTION control.object_trash_done(p_request json) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	WITH done AS (DELETE FROM control.object_trash WHERE tries > 0
	              AND key IN (SELECT json_array_elements_text(p_request->'keys')) RETURNING key)
	SELECT to_json(count(*)) FROM done
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.artifacts_begin(json), control.artifacts_commit(json),
	control.artifact_for_run(json), control.object_trash_take(json), control.object_trash_done(json) TO windlass_engine;
GRANT EXECUTE ON FUNCTION control.artifact_delete(uuid), control.upload_begin(uuid, bigint),
	control.upload_commit(json, json) TO windlass_tenant;

-- ---- operations --------------------------------------------------------------------------------------------------

-- What somebody may do with an artifact: what he may with the execution that left it; an upload is everybody's.
CREATE FUNCTION api.artifact_access(p_actor json, p_row record) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN CASE WHEN p_row.kind = 'upload' THEN 'edit' ELSE api.execution_access(p_actor, p_row.execution_id) END;
END $$;

-- An artifact as the API shows it; p_row is a row of the tenant's table.
CREATE FUNCTION api.artifact_json(p_row record) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN json_build_object('id', p_row.id, 'kind', p_row.kind, 'execution_id', p_row.execution_id,
		'node_id', p_row.node_id, 'name', p_row.name, 'content_type', p_row.content_type, 'size', p_row.size,
		'sha256', encode(p_row.sha256, 'hex'), 'created_at', api.time(p_row.created_at));
END $$;

-- Planned anew each time: a plan that fits every filter would use no index for any of them.
CREATE FUNCTION api.artifacts_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
	v_params json := p_request->'params';
	v_user   uuid := (p_actor->>'user')::uuid;
	v_limit  int := coalesce((v_params->>'limit')::int, 20);
	v_cursor text[] := regexp_match(v_params->>'cursor', '^([0-9]{1,17})_([0-9a-f-]{36})$');
	v_rows   json[] := '{}';
	v_last   text;
	v_next   text;
	v_row    record;
BEGIN
	IF v_params->>'cursor' IS NOT NULL AND v_cursor IS NULL THEN
		PERFORM api.refuse('WL400', 'a parameter is wrong', 'cursor', 'is not one that this server gave');
	END IF;
	FOR v_row IN
		SELECT * FROM artifacts a
		WHERE a.kind <> 'export' AND (v_params->>'execution_id' IS NULL OR a.execution_id = (v_params->>'execution_id')::uuid)
		  AND (v_params->>'node_id' IS NULL OR a.node_id = v_params->>'node_id')
		  AND (v_params->>'kind' IS NULL OR a.kind = v_params->>'kind')
		  AND (v_cursor IS NULL OR (a.created_at, a.id) <
		       (timestamptz 'epoch' + v_cursor[1]::bigint * interval '1 microsecond', v_cursor[2]::uuid))
		  -- whose execution he may see, as in executions_list
		  AND (p_actor->>'role' = 'admin' OR a.kind = 'upload' OR EXISTS (
		       SELECT FROM executions e LEFT JOIN flows f ON f.id = e.flow_id WHERE e.id = a.execution_id
		       AND (f.visibility IS DISTINCT FROM 'private' OR f.created_by = v_user OR EXISTS (
		            SELECT FROM flow_shares s WHERE s.flow_id = f.id AND s.user_id = v_user))))
		ORDER BY a.created_at DESC, a.id DESC LIMIT v_limit + 1
	LOOP
		IF cardinality(v_rows) = v_limit THEN
			v_next := v_last;
			EXIT;
		END IF;
		v_rows := v_rows || api.artifact_json(v_row);
		v_last := (extract(epoch FROM v_row.created_at) * 1000000)::bigint || '_' || v_row.id;
	END LOOP;
	RETURN ROW(200, json_build_object('artifacts', to_json(v_rows),
		'page_info', json_build_object('limit', v_limit, 'next_cursor', v_next)), NULL, NULL, NULL)::api.answer;
EXCEPTION WHEN invalid_text_representation THEN
	PERFORM api.refuse('WL400', 'a parameter is wrong', 'cursor', 'is not one that this server gave');
END $$;

CREATE FUNCTION api.artifacts_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row record;
BEGIN
	SELECT * INTO v_row FROM artifacts WHERE id = (p_request->'params'->>'id')::uuid;
	PERFORM api.check_access(api.artifact_access(p_actor, v_row), 'view', 'artifact');
	RETURN ROW(200, json_build_object('artifact', api.artifact_json(v_row)), NULL, NULL, NULL)::api.answer;
END $$;

-- For the server's handler, which reads the object.
CREATE FUNCTION api.artifacts_content(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row record;
BEGIN
	SELECT * INTO v_row FROM artifacts WHERE id = (p_request->'params'->>'id')::uuid;
	PERFORM api.check_access(api.artifact_access(p_actor, v_row), 'view', 'artifact');
	RETURN ROW(200, json_build_object('key', v_row.object_key, 'name', v_row.name, 'size', v_row.size),
	        encode(v_row.sha256, 'hex'), NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.artifacts_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id  uuid := (p_request->'params'->>'id')::uuid;
	v_row record;
BEGIN
	SELECT * INTO v_row FROM artifacts WHERE id = v_id;
	PERFORM api.check_access(api.artifact_access(p_actor, v_row), 'edit', 'artifact');
	IF NOT control.artifact_delete(v_id) THEN
		PERFORM api.missing('artifact');
	END IF;
	PERFORM control.audit(p_actor, 'artifact.delete', 'artifact', v_id::text,
		json_build_object('execution_id', v_row.execution_id, 'node_id', v_row.node_id, 'name', v_row.name,
		                  'size', v_row.size));
	RETURN ROW(204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- Called twice by the server's handler: before it writes the object (p_request without "stored"), for its key, and after.
CREATE FUNCTION api.artifacts_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_file json := p_request->'file';
	v_id   uuid := v_file->>'id';
	v_row  record;
BEGIN
	IF p_request->'stored' IS NULL THEN
		RETURN ROW(200, json_build_object('key', control.upload_begin(v_id, (v_file->>'size')::bigint)), NULL, NULL,
		           NULL)::api.answer;
	END IF;
	PERFORM control.upload_commit(p_actor, v_file);
	SELECT * INTO v_row FROM artifacts WHERE id = v_id;
	PERFORM control.audit(p_actor, 'artifact.create', 'artifact', v_id::text,
		json_build_object('name', v_row.name, 'size', v_row.size));
	RETURN ROW(201, json_build_object('artifact', api.artifact_json(v_row)), NULL, '/api/v1/artifacts/' || v_id,
	           NULL)::api.answer;
END $$;
