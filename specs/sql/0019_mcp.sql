-- Published flows as tools of the Model Context Protocol (docs/guides/mcp-server.md): what is offered to whom under which
-- name, and the steps of a call.
SET LOCAL ROLE windlass_owner;

-- ---- tables ---------------------------------------------------------------------------------------------------
-- A session's id only tells the clients of one person apart: nothing is kept of it but that it has ended.

CREATE FUNCTION control.tenant_ddl_0019_mcp(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		ALTER TABLE %1$I.flows ADD COLUMN mcp boolean NOT NULL DEFAULT true;
		CREATE INDEX ON %1$I.flow_versions (api.mcp_slug(name));
		CREATE TABLE %1$I.mcp_ended (
			user_id uuid NOT NULL,
			session uuid NOT NULL,
			at      timestamptz NOT NULL DEFAULT clock_timestamp(),
			PRIMARY KEY (user_id, session)
		);
		GRANT SELECT, INSERT, DELETE ON %1$I.mcp_ended TO %1$I;
	$ddl$, p_schema);
END $$;

-- ---- names ------------------------------------------------------------------------------------------------------

-- A flow's name in what all clients take in a tool's: a-z, 0-9 and _, at most 48.
CREATE FUNCTION api.mcp_slug(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(nullif(btrim(left(btrim(regexp_replace(lower(p_name), '[^a-z0-9]+', '_', 'g'), '_'), 48), '_'), ''), 'flow')
$$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0019_mcp');

-- The flows that p_actor may run and that are offered, all or those of these slugs. The oldest flow of a slug has it as its
-- tool's name; the others, and slugs that look as if they had one, get the end of their id behind it.
CREATE FUNCTION api.mcp_offers(p_actor json, p_slugs text[])
RETURNS TABLE (flow_id uuid, doc_hash bytea, tool text, title text, description text)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT o.id, o.doc_hash, CASE WHEN o.place > 1 OR o.slug ~ '_[0-9a-f]{8}$' OR o.slug = 'get_execution'
	                              THEN o.slug || '_' || right(o.id::text, 8) ELSE o.slug END, o.name, o.description
	FROM (SELECT f.id, v.doc_hash, v.name, f.description, api.mcp_slug(v.name) AS slug,
	             row_number() OVER (PARTITION BY api.mcp_slug(v.name) ORDER BY f.id) AS place
	      FROM flow_versions v JOIN flows f ON f.id = v.flow_id AND f.published = v.version
	      LEFT JOIN flow_shares s ON s.flow_id = f.id AND s.user_id = (p_actor->>'user')::uuid
	      WHERE (p_slugs IS NULL OR api.mcp_slug(v.name) = ANY (p_slugs))
	        AND f.deleted_at IS NULL AND f.status <> 'archived' AND f.mcp
	        AND api.access_level((p_actor->>'user')::uuid, p_actor->>'role', f.visibility, f.created_by, s.access) >= 2) o;
END $$;

-- ---- schemas ------------------------------------------------------------------------------------------------------

-- A flow's input_schema as clients want it: of type object. One that is too long for a list lets everything through: calls
-- are checked against the flow's own.
CREATE FUNCTION api.mcp_input_schema(p_schema json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN json_typeof(p_schema) IS DISTINCT FROM 'object' OR length(p_schema::text) > 65536
	            THEN '{"type":"object"}'::json
	            WHEN json_typeof(p_schema->'type') = 'string' AND p_schema->>'type' = 'object' THEN p_schema
	            WHEN p_schema->'type' IS NULL THEN api.json_with('{"type":"object"}', p_schema)
	            ELSE json_build_object('type', 'object', 'allOf', json_build_array(p_schema)) END
$$;

-- Its output_schema, when outputs are objects; and what a call is answered with while the run goes on. References inside
-- of it would lead elsewhere then: NULL.
CREATE FUNCTION api.mcp_output_schema(p_schema json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN json_typeof(p_schema) = 'object' AND json_typeof(p_schema->'type') = 'string'
	                 AND p_schema->>'type' = 'object' AND length(p_schema::text) <= 65536 AND strpos(p_schema::text, '$ref') = 0
	            THEN json_build_object('type', 'object', 'anyOf', json_build_array(p_schema, '{"type":"object","properties":{
	                 "execution_id":{"type":"string"},"status":{"type":"string","enum":["queued","running"]}},
	                 "required":["execution_id","status"]}'::json)) END
$$;

CREATE FUNCTION api.mcp_output_member(p_schema json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN p_schema IS NOT NULL THEN json_build_object('outputSchema', p_schema) END $$;

-- ---- steps --------------------------------------------------------------------------------------------------------
-- The server takes a message apart and asks for one step at a time, p_request->>'step':
--   list    {"after": flow or null, "limit", "built_in": a tool or null}: a page of tools, as tools/list answers it
--   find    {"tool", "counts"}: the flow behind a name, what its arguments are checked against, how many nodes it has
--   start   {"flow", "hash", "inputs", "eid", "key", "request_hash"}: accept a run of that very document
--   state   {"execution_id"}: how far a run is, and whom it waits for
--   cancel  {"key"}: end the run that was started with that key
-- WL404: no such tool or run; WL410: the session has ended.

CREATE FUNCTION api.mcp_check_session(p_actor json, p_request json) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_session uuid := (p_request #>> '{params,Mcp-Session-Id}')::uuid;
BEGIN
	IF v_session IS NOT NULL AND EXISTS (SELECT FROM mcp_ended m
	                                     WHERE m.user_id = (p_actor->>'user')::uuid AND m.session = v_session) THEN
		RAISE EXCEPTION 'this session has ended: initialize again' USING ERRCODE = 'WL410';
	END IF;
END $$;

CREATE FUNCTION api.mcp_list(p_actor json, p_request json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_limit int := (p_request->>'limit')::int;
	v_rows  json;
	v_count int;
	v_next  uuid;
BEGIN
	SELECT json_agg(api.json_with(json_build_object('name', p.tool, 'title', p.title, 'description',
	                coalesce(nullif(p.description, ''), 'Runs the flow "' || p.title || '".'),
	                'inputSchema', api.mcp_input_schema(d.doc->'input_schema')),
	                api.mcp_output_member(api.mcp_output_schema(d.doc->'output_schema')))
	                ORDER BY p.flow_id) FILTER (WHERE p.place <= v_limit),
	       count(*), (array_agg(p.flow_id ORDER BY p.flow_id))[v_limit]
	INTO v_rows, v_count, v_next
	FROM (SELECT o.*, row_number() OVER (ORDER BY o.flow_id) AS place FROM api.mcp_offers(p_actor, NULL) o
	      WHERE p_request->>'after' IS NULL OR o.flow_id > (p_request->>'after')::uuid
	      ORDER BY o.flow_id LIMIT v_limit + 1) p
	JOIN flow_docs d ON d.hash = p.doc_hash;
	-- as text: nobody takes the schemas apart again on their way out
	RETURN ('{"tools":[' || concat_ws(',', p_request->>'built_in', btrim(v_rows::text, '[]')) || ']'
	        || CASE WHEN v_count > v_limit THEN ',"nextCursor":"' || v_next || '"' ELSE '' END || '}')::json;
END $$;

CREATE FUNCTION api.mcp_find(p_actor json, p_request json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_tool  CONSTANT text := p_request->>'tool';
	v_found record;
	v_doc   json;
BEGIN
	SELECT * INTO v_found FROM api.mcp_offers(p_actor, ARRAY[v_tool, regexp_replace(v_tool, '_[0-9a-f]{8}$', '')]) o
	WHERE o.tool = v_tool LIMIT 1;
	IF NOT FOUND THEN
		PERFORM api.missing('tool');
	END IF;
	SELECT d.doc INTO v_doc FROM flow_docs d WHERE d.hash = v_found.doc_hash;
	RETURN json_build_object('flow', v_found.flow_id, 'hash', encode(v_found.doc_hash, 'hex'),
		'input_schema', v_doc->'input_schema', 'nodes', CASE WHEN (p_request->>'counts')::boolean THEN
		(SELECT count(*) FROM json_array_elements(v_doc->'nodes') n WHERE n->>'type' <> 'note' AND n->>'parentId' IS NULL) END);
END $$;

-- effects: as api.answer's.
CREATE FUNCTION api.mcp_start(p_actor json, p_request json, OUT body json, OUT effects json)
LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	SELECT * INTO v FROM control.accept_batch(json_build_array(json_build_object('ord', 0, 'eid', p_request->>'eid',
		'flow', p_request->>'flow', 'may_draft', false, 'user_id', p_actor->>'user', 'role', p_actor->>'role',
		'timeout_ms', 3600000, 'inputs', p_request->'inputs', 'expect', '\x' || (p_request->>'hash'),
		'idem', p_request->>'key', 'req_hash', p_request->>'request_hash', 'source', 'mcp', 'source_id', p_actor->>'key')));
	body := json_build_object('outcome', v.outcome, 'execution_id', v.eid, 'limit', v.quota, 'used', v.used,
	                          'resets_s', v.resets_s);
	IF v.outcome = 'accepted' THEN
		effects := json_build_object('enqueue', json_build_array(json_build_object('eid', v.eid, 'tenant', v.tenant,
		                             'shard', v.shard, 'gen', v.gen, 'seq', v.seq)));
	END IF;
END $$;

CREATE FUNCTION api.mcp_state(p_actor json, p_eid uuid) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row  record;
	v_asks json;
BEGIN
	PERFORM api.need_execution(p_actor, p_eid, 'view');
	SELECT e.outputs, e.error, api.execution_status(e.status, l.state) AS status INTO v_row
	FROM executions e LEFT JOIN LATERAL (SELECT x.state FROM control.live x WHERE x.eid = e.id) l
	     ON e.status IN ('queued', 'running') WHERE e.id = p_eid;
	IF v_row.status IN ('queued', 'running') THEN
		SELECT json_agg(json_build_object('approval_id', a.id, 'node_id', a.node, 'message', a.message,
		                                  'expires_at', api.time(a.expires_at))) INTO v_asks
		FROM control.approvals_page('pending', p_eid, NULL, NULL, 10, '{}') a;
	END IF;
	RETURN json_build_object('execution_id', p_eid, 'status', v_row.status, 'outputs', v_row.outputs, 'error', v_row.error,
	                         'approvals', v_asks);
END $$;

-- The execution that a key has started within the last day, or NULL.
CREATE FUNCTION control.mcp_started(p_key text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT i.eid FROM control.idem i WHERE i.tenant = control.tenant_of_role() AND i.key = p_key
$$;

CREATE FUNCTION api.mcp_cancel(p_actor json, p_request json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_eid    uuid := control.mcp_started(p_request->>'key');
	v_cancel record;
BEGIN
	IF v_eid IS NULL OR api.access_number(api.execution_access(p_actor, v_eid)) < 2 THEN
		RETURN NULL;
	END IF;
	SELECT * INTO v_cancel FROM control.cancel(v_eid);
	IF v_cancel.outcome = 'gone' THEN
		RETURN NULL;
	END IF;
	PERFORM control.audit(p_actor, 'execution.cancel', 'execution', v_eid::text);
	RETURN json_build_object('cancel', json_build_array(json_build_object('eid', v_eid, 'shard', v_cancel.shard,
	                         'ended', v_cancel.outcome = 'cancelled')));
END $$;

CREATE FUNCTION api.mcp_post(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body    json;
	v_effects json;
BEGIN
	PERFORM api.mcp_check_session(p_actor, p_request);
	CASE p_request->>'step'
	WHEN 'list' THEN
		v_body := api.mcp_list(p_actor, p_request);
	WHEN 'find' THEN
		v_body := api.mcp_find(p_actor, p_request);
	WHEN 'start' THEN
		SELECT s.body, s.effects INTO v_body, v_effects FROM api.mcp_start(p_actor, p_request) s;
	WHEN 'state' THEN
		v_body := api.mcp_state(p_actor, (p_request->>'execution_id')::uuid);
	WHEN 'cancel' THEN
		v_effects := api.mcp_cancel(p_actor, p_request);
	END CASE;
	RETURN (200, v_body, NULL, NULL, v_effects)::api.answer;
END $$;

-- ---- sessions -------------------------------------------------------------------------------------------------------

-- Of one person's sessions the last thousand that have ended are known.
CREATE FUNCTION api.mcp_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_user uuid := (p_actor->>'user')::uuid;
BEGIN
	INSERT INTO mcp_ended (user_id, session) VALUES (v_user, (p_request #>> '{params,Mcp-Session-Id}')::uuid)
	ON CONFLICT DO NOTHING;
	DELETE FROM mcp_ended WHERE (user_id, session) IN (SELECT m.user_id, m.session FROM mcp_ended m
		WHERE m.user_id = v_user ORDER BY m.at DESC, m.session OFFSET 1000);
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- the switch of a flow ---------------------------------------------------------------------------------------------

CREATE FUNCTION api.flows_mcp_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id uuid := (p_request #>> '{params,id}')::uuid;
BEGIN
	PERFORM api.need_flow(p_actor, v_id, 'view');
	RETURN (200, json_build_object('mcp', json_build_object('offered', (SELECT f.mcp FROM flows f WHERE f.id = v_id),
		'tool', (SELECT o.tool FROM api.mcp_offers(p_actor, ARRAY(SELECT api.mcp_slug(v.name) FROM flow_versions v
		         JOIN flows f ON f.id = v.flow_id AND f.published = v.version WHERE f.id = v_id)) o WHERE o.flow_id = v_id))),
		NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.flows_mcp_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := (p_request #>> '{params,id}')::uuid;
	v_on boolean := (p_request #>> '{body,offered}')::boolean;
BEGIN
	PERFORM api.flow_hold(p_actor, v_id, 'edit');
	UPDATE flows SET mcp = v_on WHERE id = v_id AND mcp <> v_on;
	IF FOUND THEN
		PERFORM control.audit(p_actor, 'flow.mcp', 'flow', v_id::text, json_build_object('offered', v_on));
	END IF;
	RETURN api.flows_mcp_get(p_actor, p_request);
END $$;

REVOKE EXECUTE ON FUNCTION control.tenant_ddl_0019_mcp(text), control.mcp_started(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.mcp_started(text) TO windlass_tenant;
