-- Agents, crews, LLM providers and tools: one store for the four kinds. What a kind has of its own lies in `body`;
-- its rules are in api.<kind>_faults, everything else is shared.
SET LOCAL ROLE windlass_owner;

-- ---- a tenant's tables ------------------------------------------------------------------------------------------

CREATE FUNCTION control.tenant_ddl_0007_resources(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		CREATE TABLE %1$I.resources (
			id          uuid PRIMARY KEY,
			kind        text NOT NULL CHECK (kind IN ('agent', 'crew', 'tool', 'llm_provider')),
			name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
			description text NOT NULL,
			state       text NOT NULL CHECK (state IN ('draft', 'active', 'archived')),
			version     int  NOT NULL DEFAULT 1,
			body        json NOT NULL,
			credentials text CHECK (credentials LIKE 'v1.%%'), -- sealed with the tenant's key
			created_by  uuid NOT NULL,
			created_at  timestamptz NOT NULL DEFAULT now(),
			updated_at  timestamptz NOT NULL DEFAULT now(),
			deleted_at  timestamptz
		);
		CREATE UNIQUE INDEX resources_name ON %1$I.resources (kind, name) WHERE deleted_at IS NULL;
		CREATE INDEX ON %1$I.resources (kind, updated_at DESC, id) WHERE deleted_at IS NULL;
		CREATE TABLE %1$I.resource_versions (
			resource_id     uuid NOT NULL REFERENCES %1$I.resources,
			version         int  NOT NULL,
			name            text NOT NULL,
			description     text NOT NULL,
			state           text NOT NULL,
			body            json NOT NULL,
			has_credentials boolean NOT NULL,
			note            text NOT NULL,
			created_by      uuid NOT NULL,
			created_at      timestamptz NOT NULL DEFAULT now(),
			PRIMARY KEY (resource_id, version)
		);
		-- What uses what. A flow's draft (published false) and its published version are two users.
		CREATE TABLE %1$I.resource_uses (
			user_type text NOT NULL CHECK (user_type IN ('flow', 'crew', 'agent', 'llm_provider')),
			user_id   uuid NOT NULL,
			published boolean NOT NULL,
			used_type text NOT NULL,
			used_id   uuid NOT NULL,
			PRIMARY KEY (user_type, user_id, published, used_type, used_id)
		);
		CREATE INDEX ON %1$I.resource_uses (used_id);
		GRANT SELECT, INSERT, UPDATE ON %1$I.resources TO %1$I;
		GRANT SELECT, INSERT, DELETE ON %1$I.resource_versions TO %1$I;
		GRANT SELECT, INSERT, DELETE ON %1$I.resource_uses TO %1$I;
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0007_resources');

-- ---- the kinds ----------------------------------------------------------------------------------------------------

-- What people call them, the member and the path they have in the API, and the members of their body as they are when
-- nobody says anything.
CREATE FUNCTION api.resource_kind(p_kind text, OUT label text, OUT plural text, OUT path text, OUT secret boolean,
                                  OUT defaults json)
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	label := replace(replace(p_kind, '_', ' '), 'llm', 'LLM');
	plural := p_kind || 's';
	path := replace(plural, '_', '-');
	secret := p_kind IN ('tool', 'llm_provider');
	defaults := CASE p_kind
		WHEN 'agent' THEN '{"system_prompt": "", "llm_provider_id": null, "config": {}}'
		WHEN 'crew' THEN '{"agent_ids": [], "collaboration_pattern": "sequential", "config": {}}'
		WHEN 'tool' THEN '{"input_schema": {}, "output_schema": {}, "execution_config": {}}'
		WHEN 'llm_provider' THEN '{"provider_type": null, "config": {}, "is_active": true}' END;
END $$;

-- Refuse with the faults (an array of {"path","message"}) that fit into an answer.
CREATE FUNCTION api.refuse_many(p_code text, p_sentence text, p_faults jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_kept  jsonb := '[]';
	v_fault jsonb;
BEGIN
	FOR v_fault IN SELECT jsonb_build_object('path', left(f->>'path', 200), 'message', left(f->>'message', 300))
	               FROM jsonb_array_elements(p_faults) f LOOP
		EXIT WHEN octet_length((v_kept || v_fault)::text) > 1900; -- the server reads a DETAIL of 2 KiB
		v_kept := v_kept || v_fault;
	END LOOP;
	RAISE EXCEPTION '%', p_sentence || CASE WHEN jsonb_array_length(p_faults) > jsonb_array_length(v_kept)
		THEN format(' (%s of %s are named)', jsonb_array_length(v_kept), jsonb_array_length(p_faults)) ELSE '' END
		USING ERRCODE = p_code, DETAIL = jsonb_build_object('errors', v_kept)::text;
END $$;

CREATE FUNCTION api.fault(p_path text, p_message text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$ SELECT jsonb_build_array(jsonb_build_object('path', p_path, 'message', p_message)) $$;

-- ---- uses ---------------------------------------------------------------------------------------------------------

-- Which of the things that p_refs ([{"type","id","path"}]) names are not there, as faults. They are locked against
-- being deleted before this transaction ends.
CREATE FUNCTION api.reference_faults(p_refs json) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM resources r
	WHERE r.id IN (SELECT (x->>'id')::uuid FROM json_array_elements(p_refs) x) AND r.deleted_at IS NULL
	ORDER BY r.id FOR SHARE;
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('path', coalesce(x->>'path', x->>'type'), 'message',
	                'names no ' || (api.resource_kind(x->>'type')).label || ' of this tenant') ORDER BY o), '[]')
	        FROM json_array_elements(p_refs) WITH ORDINALITY e(x, o)
	        WHERE NOT EXISTS (SELECT FROM resources r WHERE r.id = (x->>'id')::uuid AND r.kind = x->>'type'
	                          AND r.deleted_at IS NULL));
END $$;

-- Say what a user uses: p_used is [{"type","id","path"}], path (where it is named) is for faults alone. It replaces what
-- the same user used before, for a flow what its draft (p_published false) or its published version used. For flows'
-- save and publish, and the resources themselves. A draft may name what is not there; what is published may not.
CREATE FUNCTION api.uses_set(p_user_type text, p_user_id uuid, p_published boolean, p_used json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_faults jsonb := '[]';
BEGIN
	IF p_published THEN
		v_faults := api.reference_faults(coalesce(p_used, '[]'));
		IF v_faults <> '[]' THEN
			PERFORM api.refuse_many('WL422', 'what it names is not there', v_faults);
		END IF;
	END IF;
	DELETE FROM resource_uses u
	WHERE u.user_type = p_user_type AND u.user_id = p_user_id AND u.published = p_published;
	INSERT INTO resource_uses (user_type, user_id, published, used_type, used_id)
	SELECT DISTINCT p_user_type, p_user_id, p_published, x->>'type', (x->>'id')::uuid
	FROM json_array_elements(coalesce(p_used, '[]')) x;
END $$;

-- Forget what a user uses: it was deleted. What comes back says it again.
CREATE FUNCTION api.uses_forget(p_user_type text, p_user_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM resource_uses u WHERE u.user_type = p_user_type AND u.user_id = p_user_id;
END $$;

-- How many users a thing has.
CREATE FUNCTION api.resource_use_count(p_id uuid) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT count(DISTINCT u.user_id) FROM resource_uses u WHERE u.used_id = p_id AND (
		EXISTS (SELECT FROM flows f WHERE u.user_type = 'flow' AND f.id = u.user_id AND f.deleted_at IS NULL)
		OR EXISTS (SELECT FROM resources r WHERE u.user_type <> 'flow' AND r.id = u.user_id AND r.deleted_at IS NULL)));
END $$;

-- The users of a thing, those that were deleted left out. Private flows that p_actor may not see have no name for him.
CREATE FUNCTION api.resource_users(p_id uuid, p_actor json) RETURNS TABLE (type text, id uuid, name text, published boolean)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY
	SELECT u.user_type, u.user_id,
	       CASE WHEN f.visibility = 'private' AND api.flow_access(p_actor, f.id) = 'none' THEN 'a private flow'
	            ELSE coalesce(f.name, r.name) END, bool_or(u.published)
	FROM resource_uses u
	LEFT JOIN flows f ON u.user_type = 'flow' AND f.id = u.user_id AND f.deleted_at IS NULL
	LEFT JOIN resources r ON u.user_type <> 'flow' AND r.id = u.user_id AND r.deleted_at IS NULL
	WHERE u.used_id = p_id AND coalesce(f.id, r.id) IS NOT NULL
	GROUP BY u.user_type, u.user_id, f.id, f.name, f.visibility, r.name
	ORDER BY 1, 3, 2;
END $$;

-- ---- rules of each kind -----------------------------------------------------------------------------------------

-- What a body names of other things: [{"type","id","path"}].
CREATE FUNCTION api.resource_references(p_kind text, p_body json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(json_agg(json_build_object('type', type, 'id', id, 'path', path)), '[]') FROM (
		SELECT 'llm_provider' AS type, p_body->>'llm_provider_id' AS id, 'llm_provider_id' AS path WHERE p_kind = 'agent'
		UNION ALL
		SELECT 'tool', t #>> '{}', format('config.tools[%s]', o - 1)
		FROM json_array_elements(p_body #> '{config,tools}') WITH ORDINALITY e(t, o) WHERE p_kind = 'agent'
		UNION ALL
		SELECT 'agent', a #>> '{}', format('agent_ids[%s]', o - 1)
		FROM json_array_elements(p_body->'agent_ids') WITH ORDINALITY e(a, o) WHERE p_kind = 'crew'
		UNION ALL
		SELECT 'agent', p_body #>> '{config,manager_agent_id}', 'config.manager_agent_id' WHERE p_kind = 'crew'
		UNION ALL
		SELECT 'llm_provider', p_body #>> '{config,manager_llm,llm_provider_id}', 'config.manager_llm.llm_provider_id'
		WHERE p_kind = 'crew'
		UNION ALL
		SELECT 'llm_provider', p #>> '{}', format('config.failover[%s]', o - 1)
		FROM json_array_elements(p_body #> '{config,failover}') WITH ORDINALITY e(p, o) WHERE p_kind = 'llm_provider'
	) named WHERE id IS NOT NULL
$$;

CREATE FUNCTION api.crew_task_faults(p_body json, p_task json, p_index bigint) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN p_task->>'agent_id' IS NULL AND p_body->>'collaboration_pattern' = 'sequential'
		THEN api.fault(format('config.tasks[%s].agent_id', p_index),
		               'is missing: in a sequential crew each task says which agent does it')
		WHEN p_task->>'agent_id' IS NOT NULL AND lower(p_task->>'agent_id') NOT IN
		     (SELECT lower(a) FROM json_array_elements_text(p_body->'agent_ids') a)
		THEN api.fault(format('config.tasks[%s].agent_id', p_index), 'is none of agent_ids')
		ELSE '[]' END
	|| CASE WHEN EXISTS (SELECT FROM json_array_elements(p_body #> '{config,tasks}') WITH ORDINALITY e(t, o)
	                     WHERE o - 1 < p_index AND t->>'name' = p_task->>'name')
	   THEN api.fault(format('config.tasks[%s].name', p_index), 'an earlier task has this name') ELSE '[]' END
	|| coalesce((SELECT jsonb_agg(jsonb_build_object('path', format('config.tasks[%s].context[%s]', p_index, o - 1),
	                              'message', 'names no task before this one'))
	    FROM json_array_elements_text(p_task->'context') WITH ORDINALITY c(name, o)
	    WHERE c.name NOT IN (SELECT t->>'name' FROM json_array_elements(p_body #> '{config,tasks}') WITH ORDINALITY e(t, o)
	                         WHERE o - 1 < p_index)), '[]')
$$;

-- The rules of asynchronous tasks, as lib/crew/crew_make.c has them: a crew that is saved can be made.
CREATE FUNCTION api.crew_async_faults(p_tasks json) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce((SELECT jsonb_agg(jsonb_build_object('path', format('config.tasks[%s].async_execution', o - 1),
	                        'message', 'cannot be together with a condition') ORDER BY o)
	                 FROM json_array_elements(p_tasks) WITH ORDINALITY e(t, o)
	                 WHERE (t->>'async_execution')::boolean AND t->>'condition' IS NOT NULL), '[]')
	|| CASE WHEN (p_tasks->-1->>'async_execution')::boolean AND (p_tasks->-2->>'async_execution')::boolean
	   THEN api.fault(format('config.tasks[%s].async_execution', json_array_length(p_tasks) - 1),
	                  'a crew ends with at most one asynchronous task') ELSE '[]' END
$$;

CREATE FUNCTION api.crew_faults(p_body json) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN json_array_length(p_body->'agent_ids') = 0
	       THEN api.fault('agent_ids', 'a crew needs at least one agent') ELSE '[]' END
	|| coalesce((SELECT jsonb_agg(jsonb_build_object('path', format('agent_ids[%s]', o - 1), 'message', 'is there twice'))
	    FROM (SELECT o, row_number() OVER (PARTITION BY lower(a) ORDER BY o) AS n
	          FROM json_array_elements_text(p_body->'agent_ids') WITH ORDINALITY e(a, o)) d WHERE n > 1), '[]')
	|| CASE WHEN p_body->>'collaboration_pattern' = 'hierarchical' AND p_body #> '{config,manager_agent_id}' IS NULL
	             AND p_body #> '{config,manager_llm}' IS NULL
	   THEN api.fault('config', 'a hierarchical crew needs manager_agent_id or manager_llm') ELSE '[]' END
	|| CASE WHEN lower(p_body #>> '{config,manager_agent_id}') IN
	             (SELECT lower(a) FROM json_array_elements_text(p_body->'agent_ids') a)
	   THEN api.fault('config.manager_agent_id', 'the manager is none of agent_ids') ELSE '[]' END
	|| coalesce((SELECT jsonb_agg(f ORDER BY o) FROM json_array_elements(p_body #> '{config,tasks}') WITH ORDINALITY e(t, o),
	             jsonb_array_elements(api.crew_task_faults(p_body, t, o - 1)) f), '[]')
	|| api.crew_async_faults(p_body #> '{config,tasks}')
$$;

-- A crew may be saved before it has tasks, but not be run or be published with a flow.
CREATE FUNCTION api.crew_is_empty(p_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN EXISTS (SELECT FROM resources r WHERE r.id = p_id AND r.kind = 'crew' AND r.deleted_at IS NULL
	               AND coalesce(json_array_length(r.body #> '{config,tasks}'), 0) = 0);
END $$;

CREATE FUNCTION api.crew_needs_tasks(p_id uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF api.crew_is_empty(p_id) THEN
		PERFORM api.refuse('WL422', 'the crew has no tasks', 'config.tasks', 'is empty: a crew that runs has at least one task');
	END IF;
END $$;

-- Which members the credentials have comes from the server, which alone sees them.
CREATE FUNCTION api.tool_faults(p_body json, p_given json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_auth  text := coalesce(p_body #>> '{execution_config,auth,type}', 'none');
	v_given text[];
BEGIN
	IF p_given IS NULL OR json_typeof(p_given) <> 'array' THEN
		RETURN '[]';
	END IF;
	v_given := ARRAY(SELECT json_array_elements_text(p_given) ORDER BY 1);
	RETURN CASE
		WHEN v_auth = 'none' THEN
			api.fault('credentials', 'execution_config.auth does not say how credentials are sent')
		WHEN v_auth = 'basic' AND v_given <> '{password,username}' THEN
			api.fault('credentials', 'for basic they are username and password')
		WHEN v_auth IN ('bearer', 'api_key') AND v_given <> '{token}' THEN
			api.fault('credentials', 'for ' || v_auth || ' they are token')
		ELSE '[]' END;
END $$;

CREATE FUNCTION api.llm_provider_faults(p_id uuid, p_body json, p_given json) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_type   text := p_body->>'provider_type';
	v_config json := p_body->'config';
	v_faults jsonb := '[]';
BEGIN
	IF v_type IN ('ollama', 'vllm') AND v_config->>'base_url' IS NULL THEN
		v_faults := v_faults || api.fault('config.base_url', 'is missing: ' || v_type || ' has no address of its own');
	END IF;
	IF v_type = 'demo' THEN
		v_faults := v_faults || coalesce((SELECT jsonb_agg(jsonb_build_object('path', 'config.' || k, 'message',
			'the demo provider reaches nothing')) FROM json_object_keys(v_config) k
			WHERE k IN ('base_url', 'allow_private')), '[]');
		IF p_given IS NOT NULL AND json_typeof(p_given) = 'array' THEN
			v_faults := v_faults || api.fault('api_credentials', 'the demo provider needs no key');
		END IF;
	END IF;
	IF json_array_length(v_config->'models') > 0 AND v_config->>'default_model' NOT IN
	   (SELECT json_array_elements_text(v_config->'models')) THEN
		v_faults := v_faults || api.fault('config.default_model', 'is none of config.models');
	END IF;
	-- who is reached from here by failover must not be this one
	v_faults := v_faults || coalesce((
		SELECT jsonb_agg(jsonb_build_object('path', format('config.failover[%s]', o - 1), 'message',
			CASE WHEN p = p_id THEN 'a provider cannot stand in for itself'
			     ELSE 'this provider falls back to the one at hand: a cycle' END) ORDER BY o)
		FROM (SELECT t.p::uuid AS p, t.o FROM json_array_elements_text(v_config->'failover') WITH ORDINALITY t(p, o)) f
		WHERE p = p_id OR EXISTS (
			WITH RECURSIVE reached(id) AS (
				SELECT f.p
				UNION
				SELECT u.used_id FROM reached JOIN resource_uses u
				ON u.user_type = 'llm_provider' AND u.user_id = reached.id
			) SELECT FROM reached WHERE reached.id = p_id)), '[]');
	RETURN v_faults;
END $$;

-- Addresses on private networks are an admin's to open: the switch itself, and where it leads while it is on.
CREATE FUNCTION api.check_private(p_actor json, p_kind text, p_before json, p_after json) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_switch text[] := CASE p_kind WHEN 'tool' THEN '{execution_config,egress,allow_private}'
	                               WHEN 'llm_provider' THEN '{config,allow_private}' END;
	v_on     boolean := coalesce((p_after #>> v_switch)::boolean, false);
	v_was    boolean := coalesce((p_before #>> v_switch)::boolean, false);
	v_moved  boolean;
BEGIN
	IF v_switch IS NULL OR p_actor->>'role' = 'admin' OR NOT (v_on OR v_was) THEN
		RETURN;
	END IF;
	v_moved := CASE p_kind
		WHEN 'tool' THEN (p_after #> '{execution_config,url}')::jsonb IS DISTINCT FROM (p_before #> '{execution_config,url}')::jsonb
			OR (p_after #> '{execution_config,egress}')::jsonb IS DISTINCT FROM (p_before #> '{execution_config,egress}')::jsonb
		ELSE (p_after #> '{config,base_url}')::jsonb IS DISTINCT FROM (p_before #> '{config,base_url}')::jsonb
			OR p_after->>'provider_type' IS DISTINCT FROM p_before->>'provider_type' END;
	IF v_on <> v_was OR v_moved THEN
		RAISE EXCEPTION 'private addresses (allow_private) are an admin''s to open' USING ERRCODE = 'WL403',
			DETAIL = json_build_object('errors', api.fault(array_to_string(v_switch, '.'), 'takes the role admin'))::text;
	END IF;
END $$;

-- Scheme, host and port that a body's requests go to.
CREATE FUNCTION api.resource_origin(p_kind text, p_body json) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE p_kind
		WHEN 'tool' THEN (p_body #>> '{execution_config,kind}') || ' ' ||
			coalesce(lower(substring(p_body #>> '{execution_config,url}' FROM '^[^:]*://[^/?#]*')), '')
		WHEN 'llm_provider' THEN (p_body->>'provider_type') || ' ' ||
			coalesce(lower(substring(p_body #>> '{config,base_url}' FROM '^[^:]*://[^/?#]*')), '')
	END
$$;

-- Stored credentials go with the address they were given for: who could send them elsewhere could read them.
CREATE FUNCTION api.moved_faults(p_kind text, p_stored boolean, p_before json, p_after json) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_stored AND api.resource_origin(p_kind, p_before) <> api.resource_origin(p_kind, p_after)
	THEN api.fault(CASE p_kind WHEN 'tool' THEN 'credentials' ELSE 'api_credentials' END,
	               'must be given again, or null: they would go to another server than they were given for')
	ELSE '[]' END
$$;

-- What an agent newly names as knowledge has to be an artifact that p_actor may see.
CREATE FUNCTION api.knowledge_faults(p_actor json, p_before json, p_body json) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('path', format('config.knowledge[%s]', o - 1),
	                'message', 'names no artifact of this tenant that you may see') ORDER BY o), '[]')
	        FROM json_array_elements_text(p_body #> '{config,knowledge}') WITH ORDINALITY e(id, o)
	        WHERE NOT EXISTS (SELECT FROM json_array_elements_text(p_before #> '{config,knowledge}') b WHERE b = e.id)
	          AND NOT EXISTS (SELECT FROM artifacts a WHERE a.id = e.id::uuid AND a.kind <> 'export'
	                          AND (a.kind = 'upload' OR api.execution_access(p_actor, a.execution_id) <> 'none')));
END $$;

-- All that can be wrong with a resource beyond the API's schema; refuses.
CREATE FUNCTION api.resource_check(p_actor json, p_kind text, p_id uuid, p_before json, p_body json, p_given json,
                                   p_stored boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_faults jsonb := api.reference_faults(api.resource_references(p_kind, p_body));
BEGIN
	PERFORM api.check_private(p_actor, p_kind, p_before, p_body);
	v_faults := v_faults || CASE p_kind
		WHEN 'agent' THEN api.knowledge_faults(p_actor, p_before, p_body)
		WHEN 'crew' THEN api.crew_faults(p_body)
		WHEN 'tool' THEN api.tool_faults(p_body, p_given)
		WHEN 'llm_provider' THEN api.llm_provider_faults(p_id, p_body, p_given)
		ELSE '[]' END || api.moved_faults(p_kind, p_stored, p_before, p_body);
	IF v_faults <> '[]' THEN
		PERFORM api.refuse_many('WL422', format('the %s has faults', (api.resource_kind(p_kind)).label), v_faults);
	END IF;
END $$;

-- ---- reading ------------------------------------------------------------------------------------------------------

-- Members of objects, those of a later one in place of an earlier one's.
CREATE FUNCTION api.members(VARIADIC p_objects json[]) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(json_object_agg(key, value ORDER BY place), '{}') FROM (
		SELECT DISTINCT ON (e.key) e.key, e.value, min(o.n * 1000000 + e.n) OVER (PARTITION BY e.key) AS place
		FROM unnest(p_objects) WITH ORDINALITY o(object, n), json_each(o.object) WITH ORDINALITY e(key, value, n)
		ORDER BY e.key, o.n DESC) m
$$;

-- WL404 unless there is such a thing that is not deleted.
CREATE FUNCTION api.resource_exists(p_kind text, p_id uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM resources r WHERE r.id = p_id AND r.kind = p_kind AND r.deleted_at IS NULL) THEN
		PERFORM api.missing((api.resource_kind(p_kind)).label);
	END IF;
END $$;

CREATE FUNCTION api.resource_json(p_kind text, p_id uuid, p_name text, p_description text, p_state text, p_version int,
                                  p_body json, p_has_credentials boolean, p_created_by uuid, p_created_at timestamptz,
                                  p_updated_at timestamptz) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	-- as text: members of two objects that share none, many times in a list
	RETURN (left(json_build_object('id', p_id, 'name', p_name, 'description', p_description, 'state', p_state,
			'version', p_version, 'uses', api.resource_use_count(p_id), 'created_by', p_created_by,
			'created_at', api.time(p_created_at), 'updated_at', api.time(p_updated_at))::text, -1)
		|| CASE WHEN (api.resource_kind(p_kind)).secret THEN ', "has_credentials": ' || p_has_credentials::text ELSE '' END
		|| ', ' || substr(ltrim(p_body::text), 2))::json;
END $$;

-- The thing as it is, under its kind's name.
CREATE FUNCTION api.resource_read(p_kind text, p_id uuid, OUT version int, OUT body json)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
	SELECT r.version, json_build_object(p_kind, api.resource_json(r.kind, r.id, r.name, r.description, r.state, r.version,
	       r.body, r.credentials IS NOT NULL, r.created_by, r.created_at, r.updated_at))
	INTO version, body FROM resources r WHERE r.id = p_id AND r.kind = p_kind AND r.deleted_at IS NULL;
	IF NOT FOUND THEN
		PERFORM api.missing((api.resource_kind(p_kind)).label);
	END IF;
END $$;

CREATE FUNCTION api.resource_get(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v record;
BEGIN
	SELECT * INTO v FROM api.resource_read(p_kind, (p_request #>> '{params,id}')::uuid);
	RETURN (200, v.body, v.version::text, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_list(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_params json := p_request->'params';
	v_page   int := coalesce((v_params->>'page')::int, 1);
	v_limit  int := coalesce((v_params->>'limit')::int, 20);
	v_sort   text := coalesce(v_params->>'sort', '-updated_at');
	v_total  bigint;
	v_found  json;
	v_cursor refcursor;
BEGIN
	SELECT count(*) INTO v_total FROM resources r
	WHERE r.kind = p_kind AND r.deleted_at IS NULL AND (v_params->>'state' IS NULL OR r.state = v_params->>'state')
	  AND (v_params->>'search' IS NULL OR position(lower(v_params->>'search') IN lower(r.name)) > 0
	       OR position(lower(v_params->>'search') IN lower(r.description)) > 0);
	OPEN v_cursor FOR EXECUTE format('
		SELECT coalesce(json_agg(api.resource_json(p.kind, p.id, p.name, p.description, p.state, p.version, p.body,
			p.credentials IS NOT NULL, p.created_by, p.created_at, p.updated_at) ORDER BY p.n), ''[]'')
		FROM (SELECT r.*, row_number() OVER () AS n FROM (
			SELECT * FROM resources r
			WHERE r.kind = $1 AND r.deleted_at IS NULL AND ($2 IS NULL OR r.state = $2)
			  AND ($3 IS NULL OR position(lower($3) IN lower(r.name)) > 0 OR position(lower($3) IN lower(r.description)) > 0)
			ORDER BY r.%I %s, r.id LIMIT $4 OFFSET ($5::bigint - 1) * $4) r) p',
		ltrim(v_sort, '-'), CASE WHEN v_sort LIKE '-%' THEN 'DESC' ELSE 'ASC' END)
	USING p_kind, v_params->>'state', v_params->>'search', v_limit, v_page;
	FETCH v_cursor INTO v_found;
	CLOSE v_cursor;
	RETURN (200, json_build_object((api.resource_kind(p_kind)).plural, v_found, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_versions_list(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id    uuid := (p_request #>> '{params,id}')::uuid;
	v_page  int := coalesce((p_request #>> '{params,page}')::int, 1);
	v_limit int := coalesce((p_request #>> '{params,limit}')::int, 20);
	v_total bigint;
	v_found json;
BEGIN
	PERFORM api.resource_exists(p_kind, v_id);
	SELECT count(*) INTO v_total FROM resource_versions v WHERE v.resource_id = v_id;
	SELECT coalesce(json_agg(json_build_object('version', v.version, 'name', v.name, 'note', v.note,
	       'created_by', v.created_by, 'created_at', api.time(v.created_at)) ORDER BY v.version DESC), '[]') INTO v_found
	FROM (SELECT * FROM resource_versions v WHERE v.resource_id = v_id ORDER BY v.version DESC
	      LIMIT v_limit OFFSET (v_page::bigint - 1) * v_limit) v;
	RETURN (200, json_build_object('versions', v_found, 'total', v_total,
		'page_info', api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_versions_get(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_body json;
BEGIN
	PERFORM api.resource_exists(p_kind, v_id);
	SELECT json_build_object(p_kind, api.resource_json(p_kind, r.id, v.name, v.description, v.state, v.version, v.body,
	       v.has_credentials, r.created_by, r.created_at, v.created_at)) INTO v_body
	FROM resource_versions v JOIN resources r ON r.id = v.resource_id
	WHERE v.resource_id = v_id AND v.version = (p_request #>> '{params,version}')::int;
	IF NOT FOUND THEN
		PERFORM api.missing('version');
	END IF;
	RETURN (200, v_body, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_uses(p_kind text, p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_uses json;
BEGIN
	PERFORM api.resource_exists(p_kind, v_id);
	SELECT coalesce(json_agg(json_build_object('type', u.type, 'id', u.id, 'name', u.name, 'published', u.published)), '[]')
	INTO v_uses FROM api.resource_users(v_id, p_actor) u;
	RETURN (200, json_build_object('uses', v_uses), NULL, NULL, NULL)::api.answer;
END $$;

-- ---- changing -----------------------------------------------------------------------------------------------------

CREATE FUNCTION api.resource_room(p_kind text, p_more int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	c_most constant int := 10000;
	v_used int;
BEGIN
	SELECT count(*) INTO v_used FROM resources r WHERE r.kind = p_kind AND r.deleted_at IS NULL;
	IF v_used + p_more > c_most THEN
		RAISE EXCEPTION 'a tenant has at most % %', c_most, (api.resource_kind(p_kind)).plural USING ERRCODE = 'WL429';
	END IF;
END $$;

-- Two writers of one name at once: the second waits for the first and then sees its name.
CREATE FUNCTION api.resource_name_free(p_kind text, p_id uuid, p_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM control.tenant_lock(p_kind || ' ' || p_name);
	IF EXISTS (SELECT FROM resources r WHERE r.kind = p_kind AND r.name = p_name AND r.id <> p_id AND r.deleted_at IS NULL) THEN
		PERFORM api.refuse('WL409', format('there is another %s of this name', (api.resource_kind(p_kind)).label), 'name',
			'is taken');
	END IF;
END $$;

-- A provider's failover is checked against the others': one writer at a time.
CREATE FUNCTION api.resource_alone(p_kind text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF p_kind = 'llm_provider' THEN
		PERFORM control.tenant_lock('failover');
	END IF;
END $$;

-- The row is as it shall be: keep it as a version, note what it uses, write the audit log.
CREATE FUNCTION api.resource_saved(p_actor json, p_kind text, p_id uuid, p_action text, p_note text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	SELECT * INTO v FROM resources r WHERE r.id = p_id;
	INSERT INTO resource_versions (resource_id, version, name, description, state, body, has_credentials, note, created_by)
	VALUES (v.id, v.version, v.name, v.description, v.state, v.body, v.credentials IS NOT NULL, p_note,
	        (p_actor->>'user')::uuid);
	-- each may hold a megabyte of source: the newest ones are kept
	DELETE FROM resource_versions o WHERE o.resource_id = v.id AND o.version <= v.version - 200;
	IF p_kind <> 'tool' THEN
		PERFORM api.uses_set(p_kind, p_id, false, api.resource_references(p_kind, v.body));
	END IF;
	PERFORM control.audit(p_actor, p_kind || '.' || p_action, p_kind, p_id::text,
		json_build_object('name', v.name, 'version', v.version, 'state', v.state, 'note', p_note));
END $$;

-- The members of a body of the API that belong into `body`.
CREATE FUNCTION api.resource_body(p_kind text, p_before json, p_body json) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT api.members(p_before, (SELECT coalesce(json_object_agg(key, value), '{}') FROM json_each(p_body)
	                              WHERE key IN (SELECT json_object_keys((api.resource_kind(p_kind)).defaults))))
$$;

-- p_one: a body of the API with, from the server, "id", "credentials" (sealed) and "credentials_have" beside it.
CREATE FUNCTION api.resource_make(p_actor json, p_kind text, p_one json, p_from json) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_from->>'id')::uuid;
	v_body json := api.resource_body(p_kind, (api.resource_kind(p_kind)).defaults, p_one);
BEGIN
	PERFORM api.resource_name_free(p_kind, v_id, p_one->>'name');
	PERFORM api.resource_check(p_actor, p_kind, v_id, NULL, v_body, p_from->'credentials_have', false);
	INSERT INTO resources (id, kind, name, description, state, body, credentials, created_by)
	VALUES (v_id, p_kind, p_one->>'name', coalesce(p_one->>'description', ''), coalesce(p_one->>'state', 'active'), v_body,
	        p_from->>'credentials', (p_actor->>'user')::uuid);
	PERFORM api.resource_saved(p_actor, p_kind, v_id, 'create', 'made');
	RETURN v_id;
END $$;

CREATE FUNCTION api.resource_create(p_kind text, p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid;
	v    record;
BEGIN
	PERFORM api.resource_room(p_kind, 1);
	PERFORM api.resource_alone(p_kind);
	v_id := api.resource_make(p_actor, p_kind, p_request->'body', p_request);
	SELECT * INTO v FROM api.resource_read(p_kind, v_id);
	RETURN (201, v.body, v.version::text, format('/api/v1/%s/%s', (api.resource_kind(p_kind)).path, v_id), NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_update(p_kind text, p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_new  json := p_request->'body';
	v_keep boolean := p_request->'credentials' IS NULL; -- a JSON null takes them away
	v_have json := p_request->'credentials_have';
	v_old  record;
	v_body json;
	v_note text;
	v      record;
BEGIN
	PERFORM api.resource_alone(p_kind);
	SELECT * INTO v_old FROM resources r WHERE r.id = v_id AND r.kind = p_kind AND r.deleted_at IS NULL FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing((api.resource_kind(p_kind)).label);
	END IF;
	PERFORM api.check_match(p_request #>> '{params,If-Match}', v_old.version, (api.resource_kind(p_kind)).label);
	IF v_new->>'name' <> v_old.name THEN
		PERFORM api.resource_name_free(p_kind, v_id, v_new->>'name');
	END IF;
	v_body := api.resource_body(p_kind, v_old.body, v_new);
	PERFORM api.resource_check(p_actor, p_kind, v_id, v_old.body, v_body, v_have, v_keep AND v_old.credentials IS NOT NULL);
	UPDATE resources r SET name = coalesce(v_new->>'name', r.name), description = coalesce(v_new->>'description', r.description),
		state = coalesce(v_new->>'state', r.state), body = v_body,
		credentials = CASE WHEN v_keep THEN r.credentials ELSE p_request->>'credentials' END,
		version = r.version + 1, updated_at = clock_timestamp()
	WHERE r.id = v_id;
	SELECT 'changed ' || string_agg(k, ', ') INTO v_note
	FROM (SELECT k FROM json_object_keys(v_new) k UNION ALL SELECT 'credentials' WHERE NOT v_keep) changed;
	PERFORM api.resource_saved(p_actor, p_kind, v_id, 'update', coalesce(v_note, 'changed nothing'));
	SELECT * INTO v FROM api.resource_read(p_kind, v_id);
	RETURN (200, v.body, v.version::text, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.resource_delete(p_kind text, p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request #>> '{params,id}')::uuid;
	v_old   record;
	v_users jsonb;
BEGIN
	SELECT * INTO v_old FROM resources r WHERE r.id = v_id AND r.kind = p_kind AND r.deleted_at IS NULL FOR UPDATE;
	IF NOT FOUND THEN
		PERFORM api.missing((api.resource_kind(p_kind)).label);
	END IF;
	SELECT jsonb_agg(jsonb_build_object('path', u.type || ' ' || u.id, 'message', format('the %s ''%s'' uses it',
		CASE u.type WHEN 'flow' THEN 'published flow' ELSE (api.resource_kind(u.type)).label END, left(u.name, 80))))
	INTO v_users FROM api.resource_users(v_id, p_actor) u WHERE u.type <> 'flow' OR u.published;
	IF v_users IS NOT NULL THEN
		PERFORM api.refuse_many('WL409', format('the %s is in use; archive it instead', (api.resource_kind(p_kind)).label),
			v_users);
	END IF;
	-- nothing is left of its secrets
	UPDATE resources r SET deleted_at = clock_timestamp(), updated_at = clock_timestamp(), credentials = NULL WHERE r.id = v_id;
	PERFORM api.uses_forget(p_kind, v_id);
	PERFORM control.audit(p_actor, p_kind || '.delete', p_kind, v_id::text, json_build_object('name', v_old.name));
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- operations: the same eight for each kind -----------------------------------------------------------------------

DO $make$
DECLARE
	v_kind text;
	v_op   text;
BEGIN
	FOREACH v_kind IN ARRAY ARRAY['agent', 'crew', 'tool', 'llm_provider'] LOOP
		FOREACH v_op IN ARRAY ARRAY['list', 'get', 'versions_list', 'versions_get'] LOOP
			EXECUTE format('CREATE FUNCTION api.%I(p_actor json, p_request json) RETURNS api.answer LANGUAGE sql STABLE
			                AS $f$ SELECT api.%I(%L, p_request) $f$',
				(api.resource_kind(v_kind)).plural || '_' || v_op, 'resource_' || v_op, v_kind);
		END LOOP;
		FOREACH v_op IN ARRAY ARRAY['uses', 'create', 'update', 'delete'] LOOP
			EXECUTE format('CREATE FUNCTION api.%I(p_actor json, p_request json) RETURNS api.answer LANGUAGE sql
			                AS $f$ SELECT api.%I(%L, p_actor, p_request) $f$',
				(api.resource_kind(v_kind)).plural || '_' || v_op, 'resource_' || v_op, v_kind);
		END LOOP;
	END LOOP;
END $make$;

-- ---- tools ----------------------------------------------------------------------------------------------------------

-- What a supervisor needs to call a tool of tenant p_tenant: its newest version. NULL: there is none (any more). Who
-- asks refuses one that is archived. Credentials stay sealed, with the tenant's key (sealed too) beside them.
CREATE FUNCTION control.tool_for_run(p_tenant int, p_tool uuid) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tool json;
BEGIN
	EXECUTE format('SELECT json_build_object(''id'', id, ''name'', name, ''description'', description, ''state'', state, ''version'', version,
		''input_schema'', body->''input_schema'', ''output_schema'', body->''output_schema'',
		''execution_config'', body->''execution_config'', ''credentials'', credentials,
		''sealed_key'', CASE WHEN credentials IS NOT NULL THEN control.tenant_key_of($2) END)
		FROM t_%s.resources WHERE id = $1 AND kind = ''tool'' AND deleted_at IS NULL', p_tenant)
	INTO v_tool USING p_tool, p_tenant;
	RETURN v_tool;
END $$;
REVOKE EXECUTE ON FUNCTION control.tool_for_run(int, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.tool_for_run(int, uuid) TO windlass_engine;

-- Trying things out goes to servers of others: so many times a minute for a tenant, and no more.
CREATE UNLOGGED TABLE control.validate_bucket (
	tenant int PRIMARY KEY,
	tokens float8 NOT NULL,
	at     timestamptz NOT NULL
);

-- Take one of the tenant's trials; WL429 when none is left.
CREATE FUNCTION control.validate_token() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	c_burst  constant float8 := 20;
	c_second constant float8 := 0.5; -- so many come back in a second
	v_left   float8;
BEGIN
	INSERT INTO control.validate_bucket AS b (tenant, tokens, at)
	VALUES (control.tenant_of_role(), c_burst - 1, clock_timestamp())
	ON CONFLICT (tenant) DO UPDATE SET at = excluded.at, tokens =
		least(c_burst, b.tokens + greatest(0, extract(epoch FROM excluded.at - b.at)) * c_second) - 1
	RETURNING b.tokens INTO v_left;
	IF v_left < 0 THEN
		RAISE EXCEPTION 'too many trials of tools and providers at once' USING ERRCODE = 'WL429',
			DETAIL = json_build_object('resets_s', ceil((0 - v_left) / c_second))::text;
	END IF;
END $$;
GRANT EXECUTE ON FUNCTION control.validate_token() TO windlass_tenant;

-- For the server alone: it never passes on what this answers, which has the sealed credentials in it.
CREATE FUNCTION api.resource_for_trial(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := (p_request #>> '{params,id}')::uuid;
	v    json;
BEGIN
	PERFORM api.resource_exists(p_kind, v_id);
	PERFORM control.validate_token();
	SELECT api.members(r.body, json_build_object('state', r.state, 'credentials', r.credentials, 'sealed_key',
	       CASE WHEN r.credentials IS NOT NULL THEN control.my_tenant_key() END)) INTO v FROM resources r WHERE r.id = v_id;
	RETURN (200, v, NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.llm_providers_validate(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.resource_for_trial('llm_provider', p_request) $$;

CREATE FUNCTION api.tools_validate(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.resource_for_trial('tool', p_request) $$;

-- Run a thing as an execution of its own: the server has made a flow of it, "document" with its "hash" (hex), and gives
-- the execution's id as "eid". How it was accepted, as api.accept_one says.
CREATE FUNCTION api.trial_run(p_actor json, p_kind text, p_request json, p_inputs json, p_action text) RETURNS record
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request #>> '{params,id}')::uuid;
	v_key   text := p_request #>> '{params,Idempotency-Key}';
	v_state text;
	v_run   record;
BEGIN
	SELECT r.state INTO v_state FROM resources r WHERE r.id = v_id AND r.kind = p_kind AND r.deleted_at IS NULL;
	IF NOT FOUND THEN
		PERFORM api.missing(p_kind);
	END IF;
	IF v_state = 'archived' THEN
		RAISE EXCEPTION 'the % is archived: it starts no new runs', p_kind USING ERRCODE = 'WL409';
	END IF;
	PERFORM api.flow_put_document(p_request->>'hash', p_request->'document');
	SELECT * INTO v_run FROM api.accept_one(json_build_object('eid', p_request->>'eid', 'flow', v_id,
		'user_id', p_actor->>'user', 'doc_hash', '\x' || (p_request->>'hash'), 'source', p_kind, 'source_id', v_id,
		'timeout_ms', (p_request->>'timeout_ms')::bigint, 'inputs', p_inputs, 'idem', v_key, 'req_hash',
		CASE WHEN v_key IS NOT NULL THEN encode(sha256(convert_to(p_action || ' ' || v_id || ' ' || p_inputs, 'UTF8')), 'hex')
		END));
	IF NOT v_run.replayed THEN
		PERFORM control.audit(p_actor, p_action, p_kind, v_id::text, json_build_object('execution_id', v_run.eid));
	END IF;
	RETURN v_run;
END $$;

CREATE FUNCTION api.tools_test(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_run record := api.trial_run(p_actor, 'tool', p_request,
	                              json_build_object('input', coalesce(p_request #> '{body,input}', '{}')), 'tool.test');
BEGIN
	RETURN (202, json_build_object('execution_id', v_run.eid, 'status', 'queued'), NULL,
		'/api/v1/executions/' || v_run.eid, v_run.effects)::api.answer;
END $$;

-- Store the tools that the server has read out of an OpenAPI document, all or none. "tools" has for each "one" (a body
-- of tools_create with the "operation" it comes from) and beside it "id", "credentials" and "credentials_have". Names
-- are not locked one by one, as there may be a thousand: of two imports at once the second fails on the index of names.
CREATE FUNCTION api.tools_import(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_faults jsonb;
	v_found  json;
BEGIN
	PERFORM api.resource_room('tool', json_array_length(p_request->'tools'));
	SELECT jsonb_agg(jsonb_build_object('path', t #>> '{one,operation}', 'message',
	       format('there is a tool named ''%s''', t #>> '{one,name}')) ORDER BY o) INTO v_faults
	FROM json_array_elements(p_request->'tools') WITH ORDINALITY e(t, o)
	WHERE EXISTS (SELECT FROM resources r WHERE r.kind = 'tool' AND r.name = t #>> '{one,name}' AND r.deleted_at IS NULL);
	IF v_faults IS NOT NULL THEN
		PERFORM api.refuse_many('WL409', 'tools of these names exist; name_prefix gives others', v_faults);
	END IF;
	SELECT jsonb_agg(f) INTO v_faults FROM json_array_elements(p_request->'tools') t,
		jsonb_array_elements(api.tool_faults(t->'one', t->'credentials_have')) f;
	IF v_faults IS NOT NULL THEN
		PERFORM api.refuse_many('WL422', 'the tools have faults', v_faults);
	END IF;
	WITH made AS (
		-- by name, so that two imports at once wait for each other and do not deadlock
		INSERT INTO resources (id, kind, name, description, state, body, credentials, created_by)
		SELECT (t->>'id')::uuid, 'tool', t #>> '{one,name}', coalesce(t #>> '{one,description}', ''), t #>> '{one,state}',
		       json_build_object('input_schema', t #> '{one,input_schema}', 'output_schema', t #> '{one,output_schema}',
		                         'execution_config', t #> '{one,execution_config}'),
		       t->>'credentials', (p_actor->>'user')::uuid
		FROM json_array_elements(p_request->'tools') t ORDER BY t #>> '{one,name}'
		RETURNING *
	), kept AS (
		INSERT INTO resource_versions (resource_id, version, name, description, state, body, has_credentials, note,
		                               created_by)
		SELECT id, version, name, description, state, body, credentials IS NOT NULL, 'imported', created_by FROM made
	)
	SELECT json_agg(api.resource_json(m.kind, m.id, m.name, m.description, m.state, m.version, m.body,
	                m.credentials IS NOT NULL, m.created_by, m.created_at, m.updated_at) ORDER BY d.o)
	INTO v_found FROM made m JOIN (SELECT (t->>'id')::uuid AS id, o
	                               FROM json_array_elements(p_request->'tools') WITH ORDINALITY e(t, o)) d USING (id);
	PERFORM control.audit(p_actor, 'tool.create', 'tool', t->>'id', json_build_object('name', t #>> '{one,name}',
		'version', 1, 'state', t #>> '{one,state}', 'note', 'imported'))
	FROM json_array_elements(p_request->'tools') t;
	RETURN (201, json_build_object('tools', v_found, 'warnings', p_request->'warnings'), NULL, NULL, NULL)::api.answer;
END $$;

-- What is asked before a server of the Model Context Protocol is: whether the actor may, whether the credentials fit, and
-- whether the tenant may try anything now. A server that is a program is asked by an execution, "document" with its
-- "hash", which gets the configuration as its inputs and has no credentials.
CREATE FUNCTION api.mcp_import_begin(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body   json := p_request->'body';
	v_id     uuid := (p_request->>'eid')::uuid;
	v_faults jsonb := api.tool_faults(v_body, p_request->'credentials_have');
	v_run    record;
BEGIN
	PERFORM api.check_private(p_actor, 'tool', NULL, v_body);
	IF v_faults <> '[]' THEN
		PERFORM api.refuse_many('WL422', 'the tools have faults', v_faults);
	END IF;
	PERFORM control.validate_token();
	IF v_id IS NULL THEN
		RETURN (200, '{}', NULL, NULL, NULL)::api.answer;
	END IF;
	PERFORM api.flow_put_document(p_request->>'hash', p_request->'document');
	SELECT * INTO v_run FROM api.accept_one(json_build_object('eid', v_id, 'flow', v_id, 'user_id', p_actor->>'user',
		'doc_hash', '\x' || (p_request->>'hash'), 'source', 'tool', 'timeout_ms', (p_request->>'timeout_ms')::bigint,
		'inputs', v_body->'execution_config'));
	PERFORM control.audit(p_actor, 'tool.ask', 'tool', v_id::text, json_build_object('execution_id', v_run.eid));
	RETURN (200, json_build_object('execution_id', v_run.eid), NULL, NULL, v_run.effects)::api.answer;
END $$;

CREATE FUNCTION api.tools_import_mcp_preview(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.mcp_import_begin(p_actor, p_request) $$;

-- Twice called: before the server is asked, and with the "tools" that it has told.
CREATE FUNCTION api.tools_import_mcp(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$
	SELECT CASE WHEN p_request->'tools' IS NULL THEN api.mcp_import_begin(p_actor, p_request)
	       ELSE api.tools_import(p_actor, p_request) END
$$;
