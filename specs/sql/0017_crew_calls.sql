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
		WHEN v.status IN ('queued', 'running') THEN json_build_object('status', 'running', 'questions', (
			SELECT coalesce(json_agg(json_build_object('question_id', q.id, 'task_id', q.task, 'message', q.message,
			                                           'asked_at', api.time(q.asked_at))), '[]')
			FROM control.questions_of(v.id) q WHERE q.status = 'pending'))
		ELSE json_build_object('status', 'error', 'error', coalesce(v.error->>'message', 'the run was ' || v.status)) END,
		NULL, NULL, NULL)::api.answer;
END $$;

-- What tasks of a run of the tenant have asked people, in order.
CREATE FUNCTION control.questions_of(p_eid uuid)
RETURNS TABLE (id uuid, task text, status text, message text, asked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT a.id, (regexp_match(a.node, '!task/([0-9]{1,9})/'))[1], a.status, a.message, a.created_at FROM control.approval a
	WHERE a.tenant = control.tenant_of_role() AND a.eid = p_eid AND a.node ~ '!task/[0-9]{1,9}/'
	ORDER BY a.created_at, a.id
$$;
GRANT EXECUTE ON FUNCTION control.questions_of(uuid) TO windlass_tenant;

-- Which question a call of resume is about. Whoever names neither it nor its task can only mean the run's first one, while
-- it is the only one: a call that is sent twice answers nothing that its sender has not seen.
CREATE FUNCTION api.crew_question(p_eid uuid, p_question uuid, p_task text) RETURNS record
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_task text := replace(p_task, 'task/', '');
	v_row  record;
BEGIN
	IF p_question IS NULL AND p_task IS NULL AND (SELECT count(*) FROM control.questions_of(p_eid)) > 1 THEN
		PERFORM api.refuse('WL422', 'this run has asked more than once', 'task_id', 'is needed, or question_id');
	END IF;
	SELECT q.* INTO v_row FROM control.questions_of(p_eid) q
	WHERE (p_question IS NULL AND q.status = 'pending' OR q.id = p_question) AND (p_task IS NULL OR q.task = v_task) LIMIT 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no task of this run waits for a person' USING ERRCODE = 'WL409';
	END IF;
	RETURN v_row;
END $$;

-- A person's word on a task that waits for it. The same word once more on the same question changes nothing.
CREATE FUNCTION api.crews_resume(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_body json := p_request->'body';
	v_run  record := api.crew_run(p_actor, (p_request #>> '{params,id}')::uuid, (v_body->>'execution_id')::uuid);
	v_what text := CASE WHEN (v_body->>'is_approve')::boolean THEN 'approved' ELSE 'rejected' END;
	v_one  record := api.crew_question(v_run.id, (v_body->>'question_id')::uuid, v_body->>'task_id');
	v      record;
BEGIN
	IF v_one.status <> v_what THEN
		SELECT d.effects INTO v FROM control.approval_decide(p_actor, v_one.id, v_what, v_body->>'human_feedback') d;
	ELSE
		SELECT NULL::json AS effects INTO v;
	END IF;
	RETURN (200, json_build_object('status', CASE v_what WHEN 'approved' THEN 'resumed' ELSE 'retrying' END,
	        'question_id', v_one.id), NULL, NULL, v.effects)::api.answer;
END $$;

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
