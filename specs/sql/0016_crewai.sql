-- CrewAI's projects: what the server's reader has to know of a tenant, and storing all that a project makes, or nothing.
SET LOCAL ROLE windlass_owner;

-- The providers of a list of ids, or all that are in use.
CREATE FUNCTION api.crewai_providers(p_ids uuid[]) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT coalesce(json_agg(json_build_object('id', r.id, 'name', r.name, 'provider_type',
	               r.body->>'provider_type', 'models', r.body #> '{config,models}', 'default_model',
	               r.body #> '{config,default_model}') ORDER BY r.name), '[]')
	        FROM resources r WHERE r.kind = 'llm_provider' AND r.deleted_at IS NULL
	        AND (r.id = ANY (p_ids) OR (p_ids IS NULL AND r.state <> 'archived' AND coalesce(r.body->>'is_active', 'true') = 'true')));
END $$;

CREATE FUNCTION api.crewai_tools(p_ids uuid[]) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT coalesce(json_agg(json_build_object('id', r.id, 'name', r.name) ORDER BY r.name), '[]')
	        FROM resources r WHERE r.kind = 'tool' AND r.deleted_at IS NULL
	        AND (r.id = ANY (p_ids) OR (p_ids IS NULL AND r.state <> 'archived')));
END $$;

-- ---- import ---------------------------------------------------------------------------------------------------------

-- The name, or the first of "name 2", "name 3", ... that nothing of the kind has. Two imports at once wait for each other.
CREATE FUNCTION api.crewai_name(p_kind text, p_name text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	v_name text := p_name;
	v_n    int := 1;
BEGIN
	PERFORM control.tenant_lock('crewai');
	WHILE CASE p_kind
		WHEN 'flow' THEN EXISTS (SELECT FROM flows f WHERE f.name = v_name AND f.deleted_at IS NULL)
		ELSE EXISTS (SELECT FROM resources r WHERE r.kind = p_kind AND r.name = v_name AND r.deleted_at IS NULL) END LOOP
		v_n := v_n + 1;
		v_name := left(p_name, 190) || ' ' || v_n;
	END LOOP;
	RETURN v_name;
END $$;

CREATE FUNCTION api.crewai_make(p_actor json, p_kind text, p_list json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
	v_one  json;
	v_id   uuid;
	v_made json[] := '{}';
BEGIN
	PERFORM api.resource_room(p_kind, json_array_length(p_list));
	FOR v_one IN SELECT * FROM json_array_elements(p_list) LOOP
		v_id := api.resource_make(p_actor, p_kind,
			api.members(v_one, json_build_object('name', api.crewai_name(p_kind, v_one->>'name'))),
			json_build_object('id', v_one->>'id'));
		v_made := array_append(v_made, (api.resource_read(p_kind, v_id)).body->p_kind);
	END LOOP;
	RETURN to_json(v_made);
END $$;

-- Called twice for each import. First without "project": the tenant's tools and providers, which the server's reader
-- needs. Then with what it has read: "project" {"agents", "crews", "flow", "findings"}, and for a flow "hash" and "document".
CREATE FUNCTION api.crews_import(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v        record;
	v_agents json;
	v_crews  json;
	v_flow   json;
BEGIN
	SELECT * INTO v FROM json_to_record(p_request) AS r(project json, hash text, document json);
	IF v.project IS NULL THEN
		RETURN (200, json_build_object('tools', api.crewai_tools(NULL), 'providers', api.crewai_providers(NULL)),
		        NULL, NULL, NULL)::api.answer;
	END IF;
	v_agents := api.crewai_make(p_actor, 'agent', v.project->'agents');
	v_crews := api.crewai_make(p_actor, 'crew', v.project->'crews');
	IF v.document IS NOT NULL THEN
		PERFORM control.flow_slot();
		PERFORM api.flow_put_document(v.hash, v.document);
		v_flow := (api.flow_make(p_actor, 'flow.import', api.crewai_name('flow', v.project #>> '{flow,name}'),
			v.project #>> '{flow,description}', decode(v.hash, 'hex'), v.document, 'tenant',
			'{"format": "crewai"}')).body->'flow';
	END IF;
	RETURN (201, json_build_object('agents', v_agents, 'crews', v_crews, 'flow', v_flow,
	        'findings', v.project->'findings'), NULL, NULL, NULL)::api.answer;
END $$;

-- ---- export ---------------------------------------------------------------------------------------------------------

-- The crews and agents of these ids with all that they name: {"crews", "agents", "tools", "providers"}.
CREATE FUNCTION api.crewai_bundle(p_crews uuid[], p_agents uuid[]) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_agents uuid[];
	v_tools  uuid[];
	v_llms   uuid[];
BEGIN
	SELECT p_agents || coalesce(array_agg(a::uuid), '{}') INTO v_agents FROM resources r, LATERAL (
		SELECT json_array_elements_text(r.body->'agent_ids') AS a
		UNION ALL SELECT r.body #>> '{config,manager_agent_id}') named
	WHERE r.kind = 'crew' AND r.id = ANY (p_crews) AND a IS NOT NULL;
	SELECT coalesce(array_agg(t::uuid), '{}') INTO v_tools FROM resources r,
		json_array_elements_text(coalesce(r.body #> '{config,tools}', '[]')) t WHERE r.id = ANY (v_agents);
	SELECT coalesce(array_agg(l::uuid), '{}') INTO v_llms FROM resources r, LATERAL (VALUES
		(r.body->>'llm_provider_id'), (r.body #>> '{config,manager_llm,llm_provider_id}')) AS n(l)
	WHERE r.id = ANY (v_agents || p_crews) AND l IS NOT NULL;
	RETURN json_build_object(
		'crews', (SELECT coalesce(json_agg((api.resource_read('crew', r.id)).body->'crew' ORDER BY r.id), '[]')
		          FROM resources r WHERE r.kind = 'crew' AND r.id = ANY (p_crews) AND r.deleted_at IS NULL),
		'agents', (SELECT coalesce(json_agg((api.resource_read('agent', r.id)).body->'agent' ORDER BY r.id), '[]')
		           FROM resources r WHERE r.kind = 'agent' AND r.id = ANY (v_agents) AND r.deleted_at IS NULL),
		'tools', api.crewai_tools(v_tools), 'providers', api.crewai_providers(v_llms));
END $$;

-- What the server writes the files from.
CREATE FUNCTION api.crews_export(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_crew json := (api.resource_read('crew', v_id)).body;
BEGIN
	RETURN (200, api.members(v_crew, api.crewai_bundle(ARRAY[v_id], '{}')), NULL, NULL, NULL)::api.answer;
END $$;

-- The crews and agents that a flow's document names, as a bundle.
CREATE FUNCTION api.crewai_flow_bundle(p_doc json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_uses json := api.document_uses(p_doc);
	v_bundle json;
BEGIN
	v_bundle := api.crewai_bundle(
		(SELECT coalesce(array_agg((u->>'id')::uuid), '{}') FROM json_array_elements(v_uses) u WHERE u->>'type' = 'crew'),
		(SELECT coalesce(array_agg((u->>'id')::uuid), '{}') FROM json_array_elements(v_uses) u WHERE u->>'type' = 'agent'));
	RETURN api.members(v_bundle, json_build_object('tools', api.crewai_tools(
		(SELECT array_agg(i) FROM (SELECT (t->>'id')::uuid FROM json_array_elements(v_bundle->'tools') t
		 UNION ALL SELECT (u->>'id')::uuid FROM json_array_elements(v_uses) u WHERE u->>'type' = 'tool'
		 UNION ALL SELECT '00000000-0000-0000-0000-000000000000'::uuid) named(i)))));
END $$;
