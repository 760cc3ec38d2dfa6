-- Runs that wait for a time or a person, and subflows.
--
-- A row of the ledger has a third state, W: the run is parked. No supervisor holds it and the queue does not know it;
-- control.parked tells when it is due. Due times, decisions and cancels end the parking: the row is in state Q again,
-- which is its own outbox as ever, or the run is over. Whoever changes a row between R, W and Q locks the ledger's row
-- first and looks at the waits then: so a decision that comes while a run is being parked is seen by one of the two.
SET LOCAL ROLE windlass_owner;

CREATE TABLE control.wait (
	eid        uuid NOT NULL,
	node       text NOT NULL CHECK (length(node) BETWEEN 1 AND 1024), -- its path, and behind a ! what it asks
	tenant     int  NOT NULL,
	due        timestamptz NOT NULL, -- of an approval: when it expires
	approval   uuid,                 -- NULL: waits for the time alone
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (eid, node)
);

-- Approvals outlive their runs, as a record of who decided what.
CREATE TABLE control.approval (
	id         uuid PRIMARY KEY,
	tenant     int  NOT NULL,
	eid        uuid NOT NULL,
	flow_id    uuid NOT NULL,
	node       text NOT NULL,
	message    text NOT NULL,
	roles      text[] NOT NULL,
	status     text NOT NULL DEFAULT 'pending'
	           CHECK (status IN ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at timestamptz NOT NULL,
	decided_by uuid,
	decided_at timestamptz,
	comment    text
);
CREATE INDEX approval_by_time ON control.approval (tenant, created_at DESC, id DESC);
CREATE INDEX approval_by_run ON control.approval (eid);

CREATE TABLE control.parked (
	eid uuid PRIMARY KEY,
	due timestamptz NOT NULL
);
CREATE INDEX parked_due ON control.parked (due);

-- Which document each subflow of an execution runs: decided once for its whole life. version 0: the newest, then.
CREATE TABLE control.subflow_pin (
	eid      uuid NOT NULL,
	flow_id  uuid NOT NULL,
	wanted   int  NOT NULL,
	version  int  NOT NULL,
	doc_hash bytea NOT NULL,
	PRIMARY KEY (eid, flow_id, wanted)
);

-- A uuid of version 7 (RFC 9562), so that ids sort by time.
CREATE FUNCTION control.uuid7() RETURNS uuid
LANGUAGE sql VOLATILE AS $$
	SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
	        substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

-- What the queue has to be told of a waiting row.
CREATE FUNCTION control.queue_entry(p_row control.dispatch) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('eid', p_row.eid, 'tenant', p_row.tenant, 'shard', p_row.shard, 'gen', s.gen,
	                         'seq', p_row.seq, 'epoch', p_row.epoch)
	FROM control.shard s WHERE s.id = p_row.shard
$$;

-- ---- called by the supervisor ---------------------------------------------------------------------------------

-- Begin a wait, or look at one that was begun before: what is stored counts, not what is asked this time.
-- p_until_ms: ms since 1970, or NULL for p_delay_ms from now on. p_message NULL: no approval.
-- outcome: lost (another attempt holds the execution), open, over, approved, rejected.
CREATE FUNCTION control.wait_look(p_eid uuid, p_epoch int, p_node text, p_delay_ms bigint, p_until_ms bigint,
                                  p_message text, p_roles json)
RETURNS TABLE (outcome text, left_ms bigint, decided_by uuid, comment text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_row      control.dispatch;
	v_wait     control.wait;
	v_approval control.approval;
	v_due      timestamptz;
BEGIN
	SELECT * INTO v_row FROM control.dispatch d WHERE d.eid = p_eid AND d.state = 'R' AND d.epoch = p_epoch FOR UPDATE;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'lost', 0::bigint, NULL::uuid, NULL::text;
		RETURN;
	END IF;
	SELECT * INTO v_wait FROM control.wait w WHERE w.eid = p_eid AND w.node = p_node;
	IF NOT FOUND THEN
		v_due := CASE WHEN p_until_ms IS NULL THEN clock_timestamp() + p_delay_ms * interval '1 ms'
		              ELSE timestamptz 'epoch' + p_until_ms * interval '1 ms' END;
		INSERT INTO control.wait (eid, node, tenant, due, approval)
		VALUES (p_eid, p_node, v_row.tenant, v_due, CASE WHEN p_message IS NOT NULL THEN control.uuid7() END)
		RETURNING * INTO v_wait;
		INSERT INTO control.approval (id, tenant, eid, flow_id, node, message, roles, expires_at)
		SELECT v_wait.approval, v_row.tenant, p_eid, v_row.flow_id, p_node, p_message,
		       ARRAY(SELECT json_array_elements_text(p_roles)), v_due
		WHERE v_wait.approval IS NOT NULL;
	END IF;
	IF v_wait.approval IS NOT NULL THEN
		UPDATE control.approval a SET status = 'expired'
		WHERE a.id = v_wait.approval AND a.status = 'pending' AND a.expires_at <= clock_timestamp();
		SELECT * INTO v_approval FROM control.approval a WHERE a.id = v_wait.approval;
	END IF;
	RETURN QUERY SELECT
		CASE WHEN v_approval.status IN ('approved', 'rejected') THEN v_approval.status
		     WHEN v_wait.due <= clock_timestamp() OR v_approval.status <> 'pending' THEN 'over' ELSE 'open' END,
		greatest(0, ceil(extract(epoch FROM v_wait.due - clock_timestamp()) * 1000))::bigint,
		v_approval.decided_by, v_approval.comment;
END $$;

-- The document of a subflow, for a tenant that the caller was given by start_batch.
-- outcome: lost, found, no_flow, no_version.
CREATE FUNCTION control.subflow_pick(p_tenant int, p_eid uuid, p_epoch int, p_flow uuid, p_version int)
RETURNS TABLE (outcome text, doc_hash bytea, version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_pick record;
	v_user uuid;
	v_role text;
BEGIN
	IF NOT EXISTS (SELECT FROM control.dispatch d WHERE d.eid = p_eid AND d.tenant = p_tenant AND d.state = 'R'
	               AND d.epoch = p_epoch) THEN
		RETURN QUERY SELECT 'lost', NULL::bytea, NULL::int;
		RETURN;
	END IF;
	RETURN QUERY SELECT 'found', p.doc_hash, p.version FROM control.subflow_pin p
		WHERE p.eid = p_eid AND p.flow_id = p_flow AND p.wanted = coalesce(p_version, 0);
	IF FOUND THEN
		RETURN;
	END IF;
	-- with the rights of whom the run belongs to: what is private to somebody else is not there
	EXECUTE format('SELECT user_id FROM t_%s.executions WHERE id = $1', p_tenant) INTO v_user USING p_eid;
	SELECT u.role INTO v_role FROM control.app_user u WHERE u.id = v_user AND u.tenant = p_tenant;
	SELECT * INTO v_pick
	FROM control.flow_pick(p_tenant, p_flow, p_version::text, false, v_user, coalesce(v_role, 'viewer'), false);
	IF v_pick.outcome <> 'accepted' THEN
		RETURN QUERY SELECT CASE WHEN v_pick.outcome IN ('no_version', 'no_draft') THEN 'no_version' ELSE 'no_flow' END,
		                    NULL::bytea, NULL::int;
		RETURN;
	END IF;
	INSERT INTO control.subflow_pin (eid, flow_id, wanted, version, doc_hash)
	VALUES (p_eid, p_flow, coalesce(p_version, 0), v_pick.version, v_pick.doc_hash) ON CONFLICT DO NOTHING;
	RETURN QUERY SELECT 'found', p.doc_hash, p.version FROM control.subflow_pin p
		WHERE p.eid = p_eid AND p.flow_id = p_flow AND p.wanted = coalesce(p_version, 0);
END $$;

-- Park executions that do nothing but wait; p_nodes: for each a JSON array of the nodes that wait. outcome: parked;
-- released (what one waits for has come meanwhile: it waits in the queue again, which counts as no attempt); cancelled
-- (made terminal here); lost (fenced before).
CREATE FUNCTION control.park_batch(p_eids uuid[], p_epochs int[], p_nodes json[]) RETURNS TABLE (eid uuid, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
	v_due  timestamptz;
	v_ripe boolean;
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_nodes) AS w(eid, epoch, nodes) ORDER BY 1 LOOP
		SELECT * INTO v_row FROM control.dispatch d
		WHERE d.eid = v_item.eid AND d.epoch = v_item.epoch AND d.state = 'R' FOR UPDATE;
		IF NOT FOUND THEN
			RETURN QUERY SELECT v_item.eid, 'lost'::text;
		ELSIF v_row.cancel THEN
			DELETE FROM control.dispatch d WHERE d.eid = v_item.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
			RETURN QUERY SELECT v_item.eid, 'cancelled'::text;
		ELSE
			SELECT min(w.due), bool_or(w.due <= clock_timestamp() OR coalesce(a.status <> 'pending', false)) INTO v_due, v_ripe
			FROM json_array_elements_text(v_item.nodes) n
			JOIN control.wait w ON w.eid = v_item.eid AND w.node = n
			LEFT JOIN control.approval a ON a.id = w.approval;
			UPDATE control.dispatch d SET state = CASE WHEN v_ripe OR v_due IS NULL THEN 'Q' ELSE 'W' END::"char", sup = ''
			WHERE d.eid = v_item.eid;
			INSERT INTO control.parked (eid, due) SELECT v_item.eid, v_due WHERE v_due IS NOT NULL AND NOT v_ripe
			ON CONFLICT (eid) DO UPDATE SET due = excluded.due;
			RETURN QUERY SELECT v_item.eid, CASE WHEN v_ripe OR v_due IS NULL THEN 'released' ELSE 'parked' END;
		END IF;
	END LOOP;
END $$;

-- ---- called by the scheduler ------------------------------------------------------------------------------------

-- Executions whose time has come wait in the queue again. p_request: {"limit"}; the answer is what is to be enqueued:
-- [{"eid","tenant","shard","gen","seq","epoch"}].
CREATE FUNCTION control.wake_due(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
DECLARE
	v_eid   uuid;
	v_row   control.dispatch;
	v_woken json[] := '{}';
BEGIN
	-- now() and not clock_timestamp(), which no index can be searched for
	FOR v_eid IN SELECT p.eid FROM control.parked p WHERE p.due <= now()
	             ORDER BY p.due LIMIT (p_request->>'limit')::int LOOP
		-- one that somebody else is at is woken by that one, or by the next call
		SELECT * INTO v_row FROM control.dispatch d WHERE d.eid = v_eid FOR UPDATE SKIP LOCKED;
		CONTINUE WHEN NOT FOUND;
		DELETE FROM control.parked p WHERE p.eid = v_eid;
		IF v_row.state = 'W' THEN
			UPDATE control.dispatch d SET state = 'Q' WHERE d.eid = v_eid;
			v_woken := v_woken || control.queue_entry(v_row);
		END IF;
	END LOOP;
	RETURN array_to_json(v_woken);
END $$;

-- ---- the third state in the functions that know the other two --------------------------------------------------------

-- To the API a parked run is running: only its node tells that it waits. The tenant is asked for once, not for each row.
CREATE OR REPLACE VIEW control.live WITH (security_barrier) AS
	SELECT eid, CASE state WHEN 'W' THEN 'R'::"char" ELSE state END AS state, cancel, epoch, started_at, accepted_at,
	       deadline
	FROM control.dispatch WHERE tenant = (SELECT control.tenant_of_role());

-- The end of runs ends what they wait for.
CREATE FUNCTION control.end_waits(p_eids uuid[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
	DELETE FROM control.parked WHERE eid = ANY (p_eids);
	DELETE FROM control.subflow_pin WHERE eid = ANY (p_eids);
	DELETE FROM control.wait WHERE eid = ANY (p_eids);
	IF FOUND THEN
		UPDATE control.approval SET status = CASE WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'cancelled' END
		WHERE eid = ANY (p_eids) AND status = 'pending';
	END IF;
END $$;

-- Start claimed executions (compare and set on epoch and gen), one row back for each asked, in any order.
-- outcome: started; gone (no row: already terminal; or parked, and a supervisor had no time to take it out of the queue);
-- cancelled (made terminal here); stale (another epoch or gen); early (its retry delay is not over).
CREATE FUNCTION control.start_batch(p_sup text, p_eids uuid[], p_epochs int[], p_shards smallint[], p_gens bigint[])
RETURNS TABLE (eid uuid, epoch int, outcome text, tenant int, flow_id uuid, doc_hash bytea, inputs json,
               deadline_left_ms bigint, deliveries int, options json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
	v_in   json;
BEGIN
	FOR v_item IN SELECT DISTINCT s FROM unnest(p_shards) s ORDER BY s LOOP
		PERFORM pg_advisory_xact_lock_shared(7201, v_item.s);
	END LOOP;
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs, p_shards, p_gens) AS w(eid, epoch, shard, gen) ORDER BY 1 LOOP
		UPDATE control.dispatch d
		SET state = 'R', epoch = v_item.epoch, sup = p_sup, started_at = coalesce(d.started_at, clock_timestamp())
		WHERE d.eid = v_item.eid AND d.epoch < v_item.epoch AND NOT d.cancel AND d.state = 'Q'
		  AND (d.not_before IS NULL OR d.not_before <= clock_timestamp())
		  AND v_item.gen = (SELECT s.gen FROM control.shard s WHERE s.id = v_item.shard)
		RETURNING d.* INTO v_row;
		IF FOUND THEN
			v_in := v_row.inputs;
			IF v_in IS NULL THEN
				EXECUTE format('SELECT inputs FROM t_%s.executions WHERE id = $1', v_row.tenant) INTO v_in USING v_row.eid;
			END IF;
			eid := v_row.eid;
			epoch := v_item.epoch;
			outcome := 'started';
			tenant := v_row.tenant;
			flow_id := v_row.flow_id;
			doc_hash := v_row.doc_hash;
			inputs := v_in;
			deadline_left_ms := extract(epoch FROM v_row.deadline - clock_timestamp()) * 1000;
			deliveries := v_row.deliveries;
			options := v_row.options;
			RETURN NEXT;
			CONTINUE;
		END IF;
		SELECT * INTO v_row FROM control.dispatch d WHERE d.eid = v_item.eid;
		RETURN QUERY SELECT v_item.eid, v_item.epoch,
			CASE WHEN v_row.eid IS NULL OR v_row.state = 'W' THEN 'gone' WHEN v_row.not_before > clock_timestamp() THEN 'early'
			     WHEN v_row.cancel AND v_row.state = 'Q' THEN 'cancelled' ELSE 'stale' END,
			v_row.tenant, NULL::uuid, NULL::bytea, NULL::json, NULL::bigint, v_row.deliveries::int, NULL::json;
		IF v_row.cancel AND v_row.state = 'Q' THEN
			DELETE FROM control.dispatch d WHERE d.eid = v_item.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		END IF;
	END LOOP;
END $$;

-- Fence attempts whose lease has expired, started or not, before their Redis slot is freed. outcome: requeue
-- (waits again), poison (failed for good here), cancelled (made terminal here), gone (no row, or parked: that is nobody's
-- and stays so), newer (a later epoch holds it).
CREATE FUNCTION control.fence_batch(p_eids uuid[], p_epochs int[], p_max_deliveries int)
RETURNS TABLE (eid uuid, epoch int, outcome text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	v_item record;
	v_row  control.dispatch;
BEGIN
	FOR v_item IN SELECT * FROM unnest(p_eids, p_epochs) AS w(eid, epoch) ORDER BY 1 LOOP
		UPDATE control.dispatch d
		SET state = CASE WHEN d.state = 'W' THEN d.state ELSE 'Q' END, sup = '', epoch = greatest(d.epoch, v_item.epoch),
		    deliveries = d.deliveries + CASE WHEN d.state = 'R' THEN 1 ELSE 0 END
		WHERE d.eid = v_item.eid AND d.epoch <= v_item.epoch RETURNING d.* INTO v_row;
		IF NOT FOUND THEN
			RETURN QUERY SELECT v_item.eid, v_item.epoch,
				CASE WHEN EXISTS (SELECT FROM control.dispatch d WHERE d.eid = v_item.eid AND d.state <> 'W') THEN 'newer'
				     ELSE 'gone' END;
		ELSIF v_row.state = 'W' THEN
			RETURN QUERY SELECT v_item.eid, v_item.epoch, 'gone'::text;
		ELSIF v_row.cancel OR v_row.deliveries > p_max_deliveries THEN
			DELETE FROM control.dispatch d WHERE d.eid = v_item.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, CASE WHEN v_row.cancel THEN 'cancelled' ELSE 'failed' END,
				v_row.epoch, v_row.started_at, NULL, CASE WHEN NOT v_row.cancel THEN json_build_object(
				'code', 'poison', 'message', format('the run was lost by its supervisor %s times', v_row.deliveries)) END);
			RETURN QUERY SELECT v_item.eid, v_item.epoch, CASE WHEN v_row.cancel THEN 'cancelled' ELSE 'poison' END;
		ELSE
			RETURN QUERY SELECT v_item.eid, v_item.epoch, 'requeue'::text;
		END IF;
	END LOOP;
END $$;

-- End what is past its deadline: waiting and parked ones at once, running ones after p_grace_ms, which their supervisor
-- has to end them itself. One that cannot be ended (its tenant's tables are damaged, say) stays and holds up no other: in
-- a random order such ones do not fill every call.
CREATE FUNCTION control.expire_overdue(p_grace_ms int, p_limit int)
RETURNS TABLE (eid uuid, tenant int, shard int, epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_row control.dispatch;
BEGIN
	FOR v_row IN
		SELECT x.* FROM control.dispatch x WHERE x.deadline < now()
		  AND (x.state IN ('Q', 'W') OR x.deadline < now() - make_interval(secs => p_grace_ms / 1000.0))
		ORDER BY random() LIMIT p_limit FOR UPDATE SKIP LOCKED LOOP
		BEGIN
			DELETE FROM control.dispatch d WHERE d.eid = v_row.eid;
			PERFORM control.terminal(v_row.tenant, v_row.eid, 'timeout', v_row.epoch, v_row.started_at, NULL,
				json_build_object('code', 'deadline', 'message', 'the execution did not end before its deadline'));
			RETURN QUERY SELECT v_row.eid, v_row.tenant, v_row.shard::int, v_row.epoch;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'execution % of tenant % cannot be ended: %', v_row.eid, v_row.tenant, SQLERRM;
		END;
	END LOOP;
END $$;

-- Ask for the end of an execution, in a tenant's transaction. outcome: cancelled (it was waiting or parked), cancelling,
-- or gone: there is no such execution in flight.
CREATE FUNCTION control.cancel(p_eid uuid) RETURNS TABLE (outcome text, shard int, gen bigint, sup text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_tenant int := control.tenant_of_role();
	v_row    control.dispatch;
	v_gen    bigint;
BEGIN
	UPDATE control.dispatch d SET cancel = true WHERE d.eid = p_eid AND d.tenant = v_tenant RETURNING d.* INTO v_row;
	IF NOT FOUND THEN
		RETURN QUERY SELECT 'gone'::text, 0, 0::bigint, ''::text;
		RETURN;
	END IF;
	SELECT s.gen INTO v_gen FROM control.shard s WHERE s.id = v_row.shard;
	IF v_row.state IN ('Q', 'W') THEN
		DELETE FROM control.dispatch d WHERE d.eid = p_eid;
		PERFORM control.terminal(v_tenant, p_eid, 'cancelled', v_row.epoch, v_row.started_at, NULL, NULL);
		RETURN QUERY SELECT 'cancelled'::text, v_row.shard::int, v_gen, ''::text;
	ELSE
		RETURN QUERY SELECT 'cancelling'::text, v_row.shard::int, v_gen, v_row.sup;
	END IF;
END $$;

-- A page of the ledger in order of acceptance, for the sweeper (p_min_age_ms) and for a rebuild (0). The queue has no
-- business with parked runs.
CREATE FUNCTION control.dispatch_page(p_shard int, p_after bigint, p_min_age_ms int, p_limit int)
RETURNS TABLE (eid uuid, tenant int, state "char", epoch int, sup text, seq bigint, cancel boolean, delay_ms bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
BEGIN
	RETURN QUERY SELECT d.eid, d.tenant, d.state, d.epoch, d.sup, d.seq, d.cancel,
			greatest(0, (extract(epoch FROM d.not_before - clock_timestamp()) * 1000))::bigint
		FROM control.dispatch d
		WHERE d.shard = p_shard AND d.seq > p_after AND d.state <> 'W'
		  AND d.accepted_at < clock_timestamp() - make_interval(secs => p_min_age_ms / 1000.0)
		ORDER BY d.seq LIMIT p_limit;
END $$;

-- ---- approvals: the API -----------------------------------------------------------------------------------------------

CREATE FUNCTION control.approval_json(p_row control.approval) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', p_row.id, 'execution_id', p_row.eid, 'flow_id', p_row.flow_id, 'node_id', p_row.node,
		'message', p_row.message, 'roles', to_json(p_row.roles),
		'status', CASE WHEN p_row.status = 'pending' AND p_row.expires_at <= now() THEN 'expired' ELSE p_row.status END,
		'created_at', api.time(p_row.created_at), 'expires_at', api.time(p_row.expires_at),
		'decided_by', p_row.decided_by, 'decided_at', api.time(p_row.decided_at), 'comment', p_row.comment)
$$;

-- A page of the tenant's approvals, newest first, behind (p_at, p_id), without those of the flows p_hidden; one row more
-- than asked tells that there are more.
CREATE FUNCTION control.approvals_page(p_status text, p_eid uuid, p_at timestamptz, p_id uuid, p_limit int, p_hidden uuid[])
RETURNS SETOF control.approval
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT * FROM control.approval a
	WHERE a.tenant = control.tenant_of_role() AND (p_eid IS NULL OR a.eid = p_eid) AND a.flow_id <> ALL (p_hidden)
	  AND (p_status IS NULL OR p_status =
	       CASE WHEN a.status = 'pending' AND a.expires_at <= now() THEN 'expired' ELSE a.status END)
	  AND (p_at IS NULL OR (a.created_at, a.id) < (p_at, p_id))
	ORDER BY a.created_at DESC, a.id DESC LIMIT p_limit
$$;

CREATE FUNCTION control.approval_get(p_id uuid) RETURNS control.approval
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT * FROM control.approval a WHERE a.id = p_id AND a.tenant = control.tenant_of_role()
$$;

-- Decide, and let a parked run go on: effects as an api function answers them.
CREATE FUNCTION control.approval_decide(p_actor json, p_id uuid, p_status text, p_comment text)
RETURNS TABLE (approval control.approval, effects json)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant   int := control.tenant_of_role();
	v_approval control.approval;
	v_row      control.dispatch;
	v_woken    boolean := false;
BEGIN
	SELECT * INTO v_approval FROM control.approval a WHERE a.id = p_id AND a.tenant = v_tenant;
	IF NOT FOUND THEN
		PERFORM api.missing('approval');
	END IF;
	SELECT * INTO v_row FROM control.dispatch d WHERE d.eid = v_approval.eid AND d.tenant = v_tenant FOR UPDATE;
	v_woken := FOUND AND v_row.state = 'W';
	SELECT * INTO v_approval FROM control.approval a WHERE a.id = p_id FOR UPDATE;
	IF p_actor->>'role' IS DISTINCT FROM 'admin' AND NOT coalesce(p_actor->>'role' = ANY (v_approval.roles), false) THEN
		RAISE EXCEPTION 'this approval is for: %', array_to_string(v_approval.roles, ', ') USING ERRCODE = 'WL403';
	ELSIF v_approval.status IN ('approved', 'rejected') THEN
		RAISE EXCEPTION 'this was % already', v_approval.status USING ERRCODE = 'WL409';
	ELSIF v_approval.status <> 'pending' OR v_approval.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION '%', CASE WHEN v_approval.status = 'cancelled' THEN 'its run has ended' ELSE 'it has expired' END
			USING ERRCODE = 'WL410';
	END IF;
	UPDATE control.approval a SET status = p_status, decided_by = (p_actor->>'user')::uuid, decided_at = clock_timestamp(),
	       comment = p_comment
	WHERE a.id = p_id RETURNING a.* INTO v_approval;
	PERFORM control.audit_for(v_tenant, p_actor, 'approval.decide', 'approval', p_id::text, json_build_object(
		'decision', p_status, 'execution_id', v_approval.eid, 'node_id', v_approval.node));
	IF v_woken THEN
		UPDATE control.dispatch d SET state = 'Q' WHERE d.eid = v_approval.eid;
		DELETE FROM control.parked p WHERE p.eid = v_approval.eid;
	END IF;
	RETURN QUERY SELECT v_approval, CASE WHEN v_woken THEN
		json_build_object('enqueue', json_build_array(control.queue_entry(v_row))) END;
END $$;
GRANT EXECUTE ON FUNCTION control.approval_json(control.approval),
	control.approvals_page(text, uuid, timestamptz, uuid, int, uuid[]), control.approval_get(uuid),
	control.approval_decide(json, uuid, text, text) TO windlass_tenant;

-- Those of runs that p_actor may see: pages are read until there are enough of them. Flows that are private to others
-- are left out while the pages are read: else a page may be behind very many of theirs.
CREATE FUNCTION api.approvals_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_params json := p_request->'params';
	v_limit  int := coalesce((v_params->>'limit')::int, 20);
	v_rows   control.approval[] := '{}';
	v_row    control.approval;
	v_read   int;
	v_at     timestamptz;
	v_id     uuid;
	v_hidden uuid[] := ARRAY(SELECT f.id FROM flows f WHERE f.visibility = 'private' AND p_actor->>'role' <> 'admin'
	                         AND api.flow_access(p_actor, f.id) = 'none');
BEGIN
	SELECT c.at, c.id INTO v_at, v_id FROM api.execution_cursor(v_params->>'cursor') c;
	LOOP
		v_read := 0;
		FOR v_row IN SELECT * FROM control.approvals_page(v_params->>'status', (v_params->>'execution_id')::uuid, v_at,
		                                                  v_id, v_limit + 1, v_hidden) LOOP
			v_read := v_read + 1;
			v_at := v_row.created_at;
			v_id := v_row.id;
			IF p_actor->>'role' = 'admin' OR api.execution_access(p_actor, v_row.eid) <> 'none' THEN
				v_rows := v_rows || v_row;
			END IF;
			EXIT WHEN cardinality(v_rows) > v_limit;
		END LOOP;
		EXIT WHEN v_read <= v_limit OR cardinality(v_rows) > v_limit;
	END LOOP;
	RETURN (200, json_build_object('approvals', (SELECT coalesce(json_agg(control.approval_json(v_rows[n]) ORDER BY n), '[]')
	                               FROM generate_subscripts(v_rows[1:v_limit], 1) n),
	        'page_info', json_build_object('limit', v_limit, 'next_cursor', CASE WHEN cardinality(v_rows) > v_limit THEN
	        (extract(epoch FROM (v_rows[v_limit]).created_at) * 1000000)::bigint || '_' || (v_rows[v_limit]).id END)),
	        NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.approvals_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_row control.approval := control.approval_get((p_request->'params'->>'id')::uuid);
BEGIN
	IF v_row.id IS NULL THEN
		PERFORM api.missing('approval');
	END IF;
	PERFORM api.check_access(api.execution_access(p_actor, v_row.eid), 'view', 'approval');
	RETURN (200, json_build_object('approval', control.approval_json(v_row)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.approvals_decide(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v record;
BEGIN
	PERFORM api.approvals_get(p_actor, p_request); -- who may not see it cannot decide it
	SELECT d.approval, d.effects INTO v FROM control.approval_decide(p_actor, (p_request->'params'->>'id')::uuid,
		CASE p_request->'body'->>'decision' WHEN 'approve' THEN 'approved' ELSE 'rejected' END,
		p_request->'body'->>'comment') d;
	RETURN (200, json_build_object('approval', control.approval_json(v.approval)), NULL, NULL, v.effects)::api.answer;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.cancel(uuid) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.start_batch(text, uuid[], int[], smallint[], bigint[]), control.fence_batch(uuid[], int[], int),
	control.expire_overdue(int, int), control.dispatch_page(int, bigint, int, int),
	control.wait_look(uuid, int, text, bigint, bigint, text, json),
	control.subflow_pick(int, uuid, int, uuid, int), control.park_batch(uuid[], int[], json[]), control.wake_due(json)
	TO windlass_engine;
