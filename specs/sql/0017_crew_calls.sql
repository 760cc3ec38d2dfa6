-- Agents and crews that are run without a flow: trials, and the calls that CrewAI's own platform has for a crew.
SET LOCAL ROLE windlass_owner;

CREATE FUNCTION api.crews_test(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_run record;
BEGIN
	PERFORM api.crew_needs_tasks((p_request #>> '{params,id}')::uuid);
	v_run := api.trial_run(p_actor, 'crew', p_request, coalesce(p_request #> '{body,inputs}', '{}'), 'crew.test');
	RETURN (202, json_build_object('execution_id', v_run.eid, 'status', 'queued'), NULL,
		'/api/v1/executions/' || v_run.eid, v_run.effects)::api.answer;
END $$;

CREATE FUNCTION api.agents_test(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_run record := api.trial_run(p_actor, 'agent', p_request, json_build_object('task', p_request #> '{body,task}',
		'expected_output', coalesce(p_request #>> '{body,expected_output}', ''),
		'input', coalesce(p_request #> '{body,inputs}', '{}')), 'agent.test');
BEGIN
	RETURN (202, json_build_object('execution_id', v_run.eid, 'status', 'queued'), NULL,
		'/api/v1/executions/' || v_run.eid, v_run.effects)::api.answer;
END $$;

-- ---- as CrewAI's own platform has them: for a crew that is active ------------------------------------------------------

CREATE FUNCTION api.crew_serves(p_id uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_state text;
BEGIN
	SELECT r.state INTO v_state FROM resources r WHERE r.id = p_id AND r.kind = 'crew' AND r.deleted_at IS NULL;
	IF NOT FOUND THEN
		PERFORM api.missing('crew');
	ELSIF v_state <> 'active' THEN
		RAISE EXCEPTION 'the crew is %: only an active one is called like this', v_state USING ERRCODE = 'WL409';
	END IF;
END $$;

-- The names in braces that the crew's texts ask for.
CREATE FUNCTION api.crews_inputs(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request #>> '{params,id}')::uuid;
	v_texts text;
BEGIN
	PERFORM api.crew_serves(v_id);
	SELECT string_agg(concat_ws(' ', t->>'description', t->>'expected_output'), ' ') INTO v_texts
	FROM resources r, json_array_elements(coalesce(r.body #> '{config,tasks}', '[]')) t WHERE r.id = v_id;
	SELECT concat_ws(' ', v_texts, string_agg(concat_ws(' ', a.body->>'system_prompt', a.body #>> '{config,role}',
		a.body #>> '{config,goal}', a.body #>> '{config,backstory}'), ' ')) INTO v_texts
	FROM resources r JOIN resources a ON a.kind = 'agent' AND a.deleted_at IS NULL AND (
		a.id::text IN (SELECT json_array_elements_text(r.body->'agent_ids'))
		OR a.id::text = r.body #>> '{config,manager_agent_id}')
	WHERE r.id = v_id;
	RETURN (200, json_build_object('inputs', (SELECT coalesce(json_agg(DISTINCT m[1] ORDER BY m[1]), '[]')
		FROM regexp_matches(v_texts, '\{([A-Za-z_][A-Za-z0-9_-]*)\}', 'g') m)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.crews_kickoff(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_run record;
BEGIN
	PERFORM api.crew_serves((p_request #>> '{params,id}')::uuid);
	PERFORM api.crew_needs_tasks((p_request #>> '{params,id}')::uuid);
	v_run := api.trial_run(p_actor, 'crew', p_request, coalesce(p_request #> '{body,inputs}', '{}'), 'crew.kickoff');
	RETURN (202, json_build_object('kickoff_id', v_run.eid), NULL, '/api/v1/executions/' || v_run.eid,
	        v_run.effects)::api.answer;
END $$;

-- A run of this crew, or WL404.
CREATE FUNCTION api.crew_run(p_actor json, p_crew uuid, p_eid uuid) RETURNS record
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row record;
BEGIN
	PERFORM api.crew_serves(p_crew);
	PERFORM api.need_execution(p_actor, p_eid, 'view');
	SELECT e.* INTO v_row FROM executions e WHERE e.id = p_eid AND e.source = 'crew' AND e.source_id = p_crew;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no such run of this crew' USING ERRCODE = 'WL404';
	END IF;
	RETURN v_row;
END $$;

CREATE FUNCTION api.crews_status(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v record := api.crew_run(p_actor, (p_request #>> '{params,id}')::uuid, (p_request #>> '{params,kickoff_id}')::uuid);
BEGIN
	RETURN (200, CASE
		WHEN v.status = 'succeeded' THEN json_build_object('status', 'completed', 'result', v.outputs,
			'execution_time', extract(epoch FROM v.end_time - coalesce(v.start_time, v.created_at)))
		WHEN v.status IN ('queued', 'running') THEN json_build_object('status', 'running')
		ELSE json_build_object('status', 'error', 'error', coalesce(v.error->>'message', 'the run was ' || v.status)) END,
		NULL, NULL, NULL)::api.answer;
END $$;

-- A person's word on a task that waits for it. Without a task_id the question that was asked first is answered.
CREATE FUNCTION api.crews_resume(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body json := p_request->'body';
	v_run  record := api.crew_run(p_actor, (p_request #>> '{params,id}')::uuid, (v_body->>'execution_id')::uuid);
	v_wait uuid := control.question_of(v_run.id, v_body->>'task_id');
	v      record;
BEGIN
	IF v_wait IS NULL THEN
		RAISE EXCEPTION 'no task of this run waits for a person' USING ERRCODE = 'WL409';
	END IF;
	SELECT d.effects INTO v FROM control.approval_decide(p_actor, v_wait,
		CASE WHEN (v_body->>'is_approve')::boolean THEN 'approved' ELSE 'rejected' END, v_body->>'human_feedback') d;
	RETURN (200, json_build_object('status', CASE WHEN (v_body->>'is_approve')::boolean THEN 'resumed' ELSE 'retrying' END),
	        NULL, NULL, v.effects)::api.answer;
END $$;

-- The oldest open question of a run of the tenant; task: the place of the task that asks, such as task/1, or its number.
CREATE FUNCTION control.question_of(p_eid uuid, p_task text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT a.id FROM control.approval a
	WHERE a.tenant = control.tenant_of_role() AND a.eid = p_eid AND a.status = 'pending' AND (p_task IS NULL
	      OR p_task ~ '^(task/)?[0-9]{1,9}$' AND strpos(a.node, '!task/' || replace(p_task, 'task/', '') || '/') > 0)
	ORDER BY a.created_at, a.id LIMIT 1
$$;
GRANT EXECUTE ON FUNCTION control.question_of(uuid, text) TO windlass_tenant;

-- ---- what crews and agents remember: the server has read it, or let it be forgotten -------------------------------------

CREATE FUNCTION api.memory_list(p_kind text, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_total bigint := (p_request->>'total')::bigint;
BEGIN
	PERFORM api.resource_exists(p_kind, (p_request #>> '{params,id}')::uuid);
	RETURN (200, json_build_object('memories', p_request->'memories', 'total', v_total, 'page_info',
		api.page_info(coalesce((p_request #>> '{params,page}')::int, 1), coalesce((p_request #>> '{params,limit}')::int, 20),
		              v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.memory_delete(p_kind text, p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id    uuid := (p_request #>> '{params,id}')::uuid;
	v_one   text := p_request #>> '{params,memory_id}';
	v_count int := (p_request->>'forgotten')::int;
BEGIN
	PERFORM api.resource_exists(p_kind, v_id);
	IF v_one IS NOT NULL AND v_count = 0 THEN
		PERFORM api.missing('memory');
	END IF;
	PERFORM control.my_memory_forgotten(v_id, CASE WHEN v_one IS NOT NULL THEN (p_request->>'bytes')::bigint END);
	PERFORM control.audit(p_actor, p_kind || '.forget', p_kind, v_id::text, json_build_object('memories', v_count));
	RETURN (200, json_build_object('forgotten', v_count), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.crews_memory_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.memory_list('crew', p_request) $$;

CREATE FUNCTION api.agents_memory_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.memory_list('agent', p_request) $$;

CREATE FUNCTION api.crews_memory_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.memory_delete('crew', p_actor, p_request) $$;

CREATE FUNCTION api.agents_memory_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql AS $$ SELECT api.memory_delete('agent', p_actor, p_request) $$;
