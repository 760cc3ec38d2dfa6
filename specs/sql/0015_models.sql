-- Models: what calls of them cost and may cost, the ledger of their use, and what is needed to make them.
--
-- Each call is a row of control.model_call: it is reserved before the model is asked and settled afterwards, whatever
-- became of it. control.model_spent counts the same by whose they were (tenant, flow and agent a day; a run for its
-- whole life), so that a budget is looked at without adding rows up. Both change in one transaction and under one lock a
-- tenant: budgets are exact under parallel calls. Tokens count in control.tenant_day as well, whose limit is the quota
-- max_llm_tokens_per_day (0009).
SET LOCAL ROLE windlass_owner;

-- ---- prices ----------------------------------------------------------------------------------------------------------

-- Of a million tokens. Those of policies/prices/prices.json, brought here by control.prices_put, and an operator's own,
-- which stand before them. In `model` a * stands for any text.
CREATE TABLE control.price (
	origin        text NOT NULL CHECK (origin IN ('file', 'operator')),
	provider_type text NOT NULL CHECK (length(provider_type) BETWEEN 1 AND 50),
	model         text NOT NULL CHECK (length(model) BETWEEN 1 AND 200),
	prompt        numeric(18, 6) NOT NULL CHECK (prompt >= 0),
	cached        numeric(18, 6) NOT NULL CHECK (cached >= 0),
	cache_write   numeric(18, 6) NOT NULL CHECK (cache_write >= 0),
	completion    numeric(18, 6) NOT NULL CHECK (completion >= 0),
	likes         text NOT NULL GENERATED ALWAYS AS (replace(replace(replace(replace(lower(model),
	              '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')) STORED,
	PRIMARY KEY (origin, provider_type, model)
);

CREATE TABLE control.price_currency (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$') -- ISO 4217
);
INSERT INTO control.price_currency (currency) VALUES ('USD');

CREATE FUNCTION control.currency() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$ SELECT currency FROM control.price_currency $$;

-- The price that holds for a model: an operator's before the file's, then the one that says the most of its name. No row
-- when it has none: such a call costs nothing.
CREATE FUNCTION control.price_of(p_type text, p_model text) RETURNS SETOF control.price
LANGUAGE sql STABLE AS $$
	SELECT p.* FROM control.price p WHERE p.provider_type = p_type AND lower(p_model) LIKE p.likes
	ORDER BY p.origin = 'operator' DESC, length(replace(p.model, '*', '')) DESC, p.model LIMIT 1
$$;

-- Tokens read from the provider's cache and written to it are part of p_prompt.
CREATE FUNCTION control.model_cost(p_price control.price, p_prompt bigint, p_cached bigint, p_cache_write bigint,
                                   p_completion bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce((greatest(p_prompt - p_cached - p_cache_write, 0) * p_price.prompt + p_cached * p_price.cached
	                 + p_cache_write * p_price.cache_write + p_completion * p_price.completion) / 1000000, 0)
$$;

-- Rows of {"provider_type","model","prompt","cached","cache_write","completion"} in place of those of one origin. What
-- cached tokens cost is what the prompt's do where a price does not tell. How many were added, changed or removed.
CREATE FUNCTION control.prices_replace(p_origin text, p_prices json) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_changed int;
	v_count   int;
BEGIN
	LOCK TABLE control.price IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM control.price p WHERE p.origin = p_origin AND NOT EXISTS (SELECT FROM json_array_elements(p_prices) w
		WHERE w->>'provider_type' = p.provider_type AND w->>'model' = p.model);
	GET DIAGNOSTICS v_changed = ROW_COUNT;
	INSERT INTO control.price AS p (origin, provider_type, model, prompt, cached, cache_write, completion)
	SELECT p_origin, w->>'provider_type', w->>'model', (w->>'prompt')::numeric,
	       coalesce((w->>'cached')::numeric, (w->>'prompt')::numeric),
	       coalesce((w->>'cache_write')::numeric, (w->>'prompt')::numeric), (w->>'completion')::numeric
	FROM json_array_elements(p_prices) w
	ON CONFLICT (origin, provider_type, model) DO UPDATE SET prompt = excluded.prompt, cached = excluded.cached,
		cache_write = excluded.cache_write, completion = excluded.completion
	WHERE (p.prompt, p.cached, p.cache_write, p.completion) IS DISTINCT FROM
	      (excluded.prompt, excluded.cached, excluded.cache_write, excluded.completion);
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN v_changed + v_count;
END $$;

-- Take over policies/prices/prices.json, which was checked against its schema.
CREATE FUNCTION control.prices_put(p_table json) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
	UPDATE control.price_currency SET currency = p_table->>'currency' WHERE currency <> p_table->>'currency';
	RETURN control.prices_replace('file', p_table->'prices');
END $$;

CREATE FUNCTION control.prices_json() RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('currency', control.currency(), 'prices', coalesce((SELECT json_agg(json_build_object(
		'origin', p.origin, 'provider_type', p.provider_type, 'model', p.model, 'prompt', trim_scale(p.prompt),
		'cached', trim_scale(p.cached), 'cache_write', trim_scale(p.cache_write), 'completion', trim_scale(p.completion))
		ORDER BY p.provider_type, p.origin DESC, p.model) FROM control.price p), '[]'))
$$;

-- ---- the ledger of use ---------------------------------------------------------------------------------------------------

CREATE TABLE control.model_call (
	id              uuid PRIMARY KEY,
	tenant          int  NOT NULL,
	day             date NOT NULL, -- on which it was reserved
	state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'settled', 'expired')),
	flow_id         uuid,
	eid             uuid,
	node            text,
	attempt         int  NOT NULL,
	place           text CHECK (length(place) <= 400),
	repeat          int  NOT NULL, -- the same call made once more: what the first one gave was lost
	agent_id        uuid,
	caller          text NOT NULL,
	provider_id     uuid,
	provider_type   text NOT NULL,
	model           text NOT NULL,
	held_prompt     bigint NOT NULL, -- reserved; stays to be seen
	held_completion bigint NOT NULL,
	held_cost       numeric NOT NULL,
	prompt          bigint NOT NULL DEFAULT 0,
	cached          bigint NOT NULL DEFAULT 0,
	cache_write     bigint NOT NULL DEFAULT 0,
	completion      bigint NOT NULL DEFAULT 0,
	reasoning       bigint NOT NULL DEFAULT 0,
	estimated       boolean NOT NULL DEFAULT false,
	cost            numeric NOT NULL DEFAULT 0,
	fault           text NOT NULL DEFAULT '',
	first_us        bigint,
	total_us        bigint,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at      timestamptz NOT NULL,
	settled_at      timestamptz
) WITH (fillfactor = 70);
-- those without a place are all different
CREATE UNIQUE INDEX model_call_place ON control.model_call (tenant, eid, node, attempt, place, repeat) WHERE eid IS NOT NULL;
CREATE INDEX model_call_day ON control.model_call (tenant, day);
CREATE INDEX model_call_open ON control.model_call (tenant, expires_at) WHERE state = 'open';

-- What was spent and is held. scope tenant: key is nobody; run: day is -infinity.
CREATE TABLE control.model_spent (
	tenant      int  NOT NULL,
	scope       text NOT NULL CHECK (scope IN ('tenant', 'flow', 'agent', 'run')),
	key         uuid NOT NULL,
	day         date NOT NULL,
	calls       bigint  NOT NULL DEFAULT 0,
	prompt      bigint  NOT NULL DEFAULT 0,
	completion  bigint  NOT NULL DEFAULT 0,
	cost        numeric NOT NULL DEFAULT 0,
	held_tokens bigint  NOT NULL DEFAULT 0,
	held_cost   numeric NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, scope, key, day)
) WITH (fillfactor = 50);

-- ---- budgets -----------------------------------------------------------------------------------------------------------------

-- target: a flow or agent, NULL for each one by itself; of a run: runs of that flow, NULL for each run.
CREATE TABLE control.budget (
	id           uuid PRIMARY KEY,
	tenant       int  NOT NULL,
	name         text NOT NULL CHECK (length(name) <= 200),
	scope        text NOT NULL CHECK (scope IN ('tenant', 'flow', 'agent', 'run')),
	target       uuid CHECK (scope <> 'tenant' OR target IS NULL),
	unit         text NOT NULL CHECK (unit IN ('tokens', 'money')),
	amount       numeric(18, 6) NOT NULL CHECK (amount >= 0),
	action       text NOT NULL CHECK (action IN ('stop', 'ask', 'cheaper')),
	provider_id  uuid CHECK ((action = 'cheaper') = (provider_id IS NOT NULL)),
	model        text CHECK ((action = 'cheaper') = (model IS NOT NULL)),
	warn_percent int CHECK (warn_percent BETWEEN 1 AND 100),
	enabled      boolean NOT NULL,
	rev          int  NOT NULL DEFAULT 1,
	created_by   uuid NOT NULL,
	created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
	updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX budget_once ON control.budget (tenant, scope, coalesce(target, '00000000-0000-0000-0000-000000000000'),
	unit, action);

-- When a budget was nearly or wholly used up: told once a day, of flows and agents each for itself.
CREATE TABLE control.budget_mark (
	tenant int  NOT NULL,
	budget uuid NOT NULL REFERENCES control.budget ON DELETE CASCADE,
	key    uuid NOT NULL,
	day    date NOT NULL,
	kind   text NOT NULL CHECK (kind IN ('warning', 'reached')),
	at     timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (budget, day, kind, key)
);

-- A person let a run use a budget's amount once more. `wait` is the wait that was approved (0008): each counts once.
CREATE TABLE control.budget_portion (
	tenant int  NOT NULL,
	eid    uuid NOT NULL,
	budget uuid NOT NULL REFERENCES control.budget ON DELETE CASCADE,
	wait   text NOT NULL,
	at     timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (eid, budget, wait)
);

-- One at a time for a tenant. Taken before any row.
CREATE FUNCTION control.model_lock(p_tenant int) RETURNS void
LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(7205, p_tenant); END $$;

-- Add to the counters of a call. (What each call runs is plpgsql, whose plans a session keeps: a function of SQL is planned
-- in each transaction anew, which doubled the time of a reservation.)
CREATE FUNCTION control.model_count(p_call control.model_call, p_calls int, p_prompt bigint, p_completion bigint,
                                    p_cost numeric, p_held_tokens bigint, p_held_cost numeric) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO control.model_spent AS s (tenant, scope, key, day, calls, prompt, completion, cost, held_tokens, held_cost)
	SELECT p_call.tenant, k.scope, k.key, CASE k.scope WHEN 'run' THEN '-infinity' ELSE p_call.day END, p_calls, p_prompt,
	       p_completion, p_cost, p_held_tokens, p_held_cost
	FROM (VALUES ('tenant', '00000000-0000-0000-0000-000000000000'), ('flow', p_call.flow_id), ('agent', p_call.agent_id),
	             ('run', p_call.eid)) k(scope, key)
	WHERE k.key IS NOT NULL
	ON CONFLICT (tenant, scope, key, day) DO UPDATE SET calls = s.calls + excluded.calls,
		prompt = s.prompt + excluded.prompt, completion = s.completion + excluded.completion, cost = s.cost + excluded.cost,
		held_tokens = s.held_tokens + excluded.held_tokens, held_cost = s.held_cost + excluded.held_cost;
END $$;

-- Note once a day that a budget is nearly (warning) or wholly (reached) used up.
CREATE FUNCTION control.budget_tell(p_budget control.budget, p_kind text, p_key uuid, p_quota numeric, p_used numeric)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO control.budget_mark (tenant, budget, key, day, kind)
	VALUES (p_budget.tenant, p_budget.id, CASE p_budget.scope WHEN 'run' THEN '00000000-0000-0000-0000-000000000000'::uuid
	        ELSE p_key END, (now() AT TIME ZONE 'UTC')::date, p_kind) ON CONFLICT DO NOTHING;
	IF FOUND THEN
		PERFORM control.audit_for(p_budget.tenant, NULL, 'budget.' || p_kind, 'budget', p_budget.id::text,
			json_build_object('name', p_budget.name, 'scope', p_budget.scope, 'of', CASE WHEN p_budget.scope <> 'tenant' THEN
			p_key END, 'unit', p_budget.unit, 'limit', trim_scale(p_quota), 'used', trim_scale(p_used),
			'action', p_budget.action));
	END IF;
END $$;

CREATE FUNCTION control.provider_is_there(p_tenant int, p_provider uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_there boolean;
BEGIN
	EXECUTE format('SELECT EXISTS (SELECT FROM t_%s.resources WHERE id = $1 AND kind = ''llm_provider''
	                AND deleted_at IS NULL AND state <> ''archived'' AND (body->>''is_active'')::boolean)', p_tenant)
	INTO v_there USING p_provider;
	RETURN v_there;
END $$;

-- What becomes of a call that is about to be reserved.
CREATE TYPE control.budget_answer AS (
	verdict text, id uuid, scope text, unit text, quota numeric, used numeric, provider_id uuid, model text, budget uuid,
	wait text
);

-- The worst that the tenant's budgets say of a call: stop before ask before cheaper; granted when all have room. A call
-- that goes to where a used up budget sends it is within all that only send it elsewhere. Where nobody can be asked (no
-- run), or the cheaper provider is gone, it is to stop.
CREATE FUNCTION control.budgets_ask(p_call control.model_call) RETURNS control.budget_answer
LANGUAGE plpgsql AS $$
DECLARE
	c_nobody  constant uuid := '00000000-0000-0000-0000-000000000000';
	v         record;
	v_need    numeric;
	v_rank    int := 0;
	v_this    int;
	v_arrived boolean := false;
	v_answer  control.budget_answer;
BEGIN
	FOR v IN
		SELECT b AS budget, k.key, b.amount * (1 + p.portions) AS quota, p.portions,
		       coalesce(CASE b.unit WHEN 'tokens' THEN s.prompt + s.completion + s.held_tokens ELSE s.cost + s.held_cost END,
		                0) AS used
		FROM control.budget b
		CROSS JOIN LATERAL (SELECT CASE b.scope WHEN 'tenant' THEN c_nobody WHEN 'flow' THEN p_call.flow_id
			WHEN 'agent' THEN p_call.agent_id ELSE p_call.eid END AS key) k
		CROSS JOIN LATERAL (SELECT count(*) AS portions FROM control.budget_portion o
			WHERE o.eid = p_call.eid AND o.budget = b.id) p
		LEFT JOIN control.model_spent s ON s.tenant = b.tenant AND s.scope = b.scope AND s.key = k.key
			AND s.day = CASE b.scope WHEN 'run' THEN '-infinity' ELSE p_call.day END
		WHERE b.tenant = p_call.tenant AND b.enabled AND k.key IS NOT NULL
		  AND (b.target IS NULL OR b.target = CASE b.scope WHEN 'run' THEN p_call.flow_id ELSE k.key END)
		ORDER BY b.id
	LOOP
		v_need := CASE (v.budget).unit WHEN 'tokens' THEN p_call.held_prompt + p_call.held_completion
		          ELSE p_call.held_cost END;
		CONTINUE WHEN v_need = 0;
		IF v.used + v_need >= v.quota * (v.budget).warn_percent / 100 THEN
			PERFORM control.budget_tell(v.budget, 'warning', v.key, v.quota, v.used);
		END IF;
		CONTINUE WHEN v.used + v_need <= v.quota;
		PERFORM control.budget_tell(v.budget, 'reached', v.key, v.quota, v.used);
		v_arrived := v_arrived OR coalesce((v.budget).provider_id = p_call.provider_id
			AND lower((v.budget).model) = lower(p_call.model), false);
		v_this := CASE WHEN (v.budget).action = 'ask' AND p_call.eid IS NOT NULL THEN 2
			WHEN (v.budget).action = 'cheaper' AND control.provider_is_there(p_call.tenant, (v.budget).provider_id) THEN 1
			ELSE 3 END;
		CONTINUE WHEN v_this <= v_rank;
		v_rank := v_this;
		v_answer := ROW((ARRAY['cheaper', 'ask', 'refused'])[v_this], NULL, (v.budget).scope, (v.budget).unit, v.quota,
			v.used, (v.budget).provider_id, (v.budget).model, (v.budget).id, CASE v_this WHEN 2 THEN
			p_call.node || '!budget-' || right((v.budget).id::text, 8) || '-' || v.portions + 1 END);
	END LOOP;
	IF v_rank = 0 OR v_rank = 1 AND v_arrived THEN
		RETURN ROW('granted', p_call.id, '', '', 0, 0, NULL, NULL, NULL, NULL)::control.budget_answer;
	END IF;
	RETURN v_answer;
END $$;

-- The flow of an execution, which runs or has ended.
CREATE FUNCTION control.flow_of(p_tenant int, p_eid uuid) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_flow uuid := (SELECT d.flow_id FROM control.dispatch d WHERE d.eid = p_eid AND d.tenant = p_tenant);
BEGIN
	IF v_flow IS NULL AND p_eid IS NOT NULL THEN
		EXECUTE format('SELECT flow_id FROM t_%s.executions WHERE id = $1', p_tenant) INTO v_flow USING p_eid;
	END IF;
	RETURN v_flow;
END $$;

-- p_call as it is to be reserved: what lib/ports/budget.h says of struct wl_budget_call, by name, with a fresh id.
CREATE FUNCTION control.model_call_of(p_call json) RETURNS control.model_call
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v      control.model_call;
	v_call jsonb := p_call; -- parsed once
BEGIN
	v.id := (v_call->>'id')::uuid;
	v.tenant := (v_call->>'tenant')::int;
	v.day := (now() AT TIME ZONE 'UTC')::date;
	v.state := 'open';
	v.eid := (v_call->>'eid')::uuid;
	v.flow_id := control.flow_of(v.tenant, v.eid);
	v.node := v_call->>'node';
	v.attempt := coalesce((v_call->>'attempt')::int, 0);
	v.place := v_call->>'place';
	v.repeat := 0;
	v.agent_id := (v_call->>'agent_id')::uuid;
	v.caller := coalesce(v_call->>'caller', '');
	v.provider_id := (v_call->>'provider_id')::uuid;
	v.provider_type := coalesce(v_call->>'provider_type', '');
	v.model := coalesce(v_call->>'model', '');
	v.held_prompt := (v_call->>'prompt_tokens')::bigint;
	v.held_completion := (v_call->>'completion_tokens')::bigint;
	-- a prompt that goes to the cache may cost more than one that does not
	SELECT control.model_cost(p, v.held_prompt, 0, CASE WHEN p.cache_write > p.prompt THEN v.held_prompt ELSE 0 END,
	                          v.held_completion) INTO v.held_cost FROM control.price_of(v.provider_type, v.model) p;
	v.held_cost := coalesce(v.held_cost, 0);
	v.expires_at := clock_timestamp() + make_interval(secs => (v_call->>'ttl_s')::int);
	v.prompt := 0; v.cached := 0; v.cache_write := 0; v.completion := 0; v.reasoning := 0;
	v.cost := 0; v.fault := ''; v.estimated := false; v.created_at := clock_timestamp();
	RETURN v;
END $$;

-- Store a call and count what it holds.
CREATE FUNCTION control.model_hold(p_call control.model_call) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO control.model_call SELECT p_call.*;
	PERFORM control.model_count(p_call, 0, 0, 0, 0, p_call.held_prompt + p_call.held_completion, p_call.held_cost);
END $$;

-- A call that nobody settled has used all that it might: its caller died, the model may have worked. Who settles it late
-- puts its own figures in their place.
CREATE FUNCTION control.model_call_expire(p_old control.model_call) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_new control.model_call := p_old;
BEGIN
	v_new.state := 'expired';
	v_new.prompt := p_old.held_prompt;
	v_new.completion := p_old.held_completion;
	v_new.cost := p_old.held_cost;
	v_new.estimated := true;
	v_new.fault := 'unsettled';
	PERFORM control.model_settle(p_old, v_new);
END $$;

-- Reserve a call. The same id gives the reservation that there is. The same execution, node, attempt and place by another
-- id is another call, which costs as well: one that is still open then is a dead supervisor's, or a late one's, and has
-- used all that it might.
CREATE FUNCTION control.budget_reserve(p_call json) RETURNS control.budget_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
DECLARE
	v_call   control.model_call;
	v_known  control.model_call;
	v_answer control.budget_answer;
	v_tokens record;
BEGIN
	-- A call waits for this: the disk is not waited for, with the lock held. What a crash of PostgreSQL takes with it
	-- (0.6 s at most) is told again by who settles it.
	SET LOCAL synchronous_commit TO off;
	PERFORM control.model_lock((p_call->>'tenant')::int);
	v_call := control.model_call_of(p_call);
	IF v_call.held_prompt < 0 OR v_call.held_completion < 0 OR v_call.expires_at <= now() THEN
		RAISE EXCEPTION 'a reservation of % and % tokens until % is none', v_call.held_prompt, v_call.held_completion,
			v_call.expires_at;
	END IF;
	SELECT * INTO v_known FROM control.model_call c WHERE c.id = v_call.id;
	IF NOT FOUND AND v_call.eid IS NOT NULL AND v_call.place IS NOT NULL THEN
		SELECT * INTO v_known FROM control.model_call c WHERE c.tenant = v_call.tenant AND c.eid = v_call.eid
			AND c.node = v_call.node AND c.attempt = v_call.attempt AND c.place = v_call.place
		ORDER BY c.repeat DESC LIMIT 1;
	END IF;
	IF v_known.id = v_call.id THEN
		UPDATE control.model_call SET expires_at = greatest(expires_at, v_call.expires_at) WHERE id = v_known.id;
		UPDATE control.token_reservation SET expires_at = greatest(expires_at, v_call.expires_at) WHERE id = v_known.id;
		RETURN ROW('granted', v_known.id, '', '', 0, 0, NULL, NULL, NULL, NULL)::control.budget_answer;
	END IF;
	IF v_known.state = 'open' THEN
		PERFORM control.model_call_expire(v_known);
	END IF;
	v_call.repeat := coalesce(v_known.repeat + 1, 0);
	v_answer := control.budgets_ask(v_call);
	IF v_answer.verdict <> 'granted' THEN
		RETURN v_answer;
	END IF;
	SELECT * INTO v_tokens FROM control.tokens_reserve(v_call.tenant, v_call.id, v_call.held_prompt + v_call.held_completion,
		ceil(extract(epoch FROM v_call.expires_at - now()))::int);
	IF NOT v_tokens.granted THEN
		RETURN ROW('refused', NULL, 'tenant', 'tokens', v_tokens.quota, v_tokens.used, NULL, NULL, NULL,
		           NULL)::control.budget_answer;
	END IF;
	PERFORM control.model_hold(v_call);
	RETURN v_answer;
END $$;

-- Write down what a call came to: p_new has its figures. Counters give back what was held or, of one that had expired,
-- what was taken for it.
CREATE FUNCTION control.model_settle(p_old control.model_call, p_new control.model_call) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_open boolean := p_old.state = 'open';
BEGIN
	PERFORM control.model_count(p_old, CASE WHEN v_open THEN 1 ELSE 0 END, p_new.prompt - p_old.prompt,
		p_new.completion - p_old.completion, p_new.cost - p_old.cost,
		CASE WHEN v_open THEN -p_old.held_prompt - p_old.held_completion ELSE 0 END,
		CASE WHEN v_open THEN -p_old.held_cost ELSE 0 END);
	IF NOT control.tokens_settle(p_old.tenant, p_old.id, p_new.prompt + p_new.completion) THEN
		UPDATE control.tenant_day SET tokens_used = greatest(0, tokens_used + p_new.prompt + p_new.completion - CASE
			WHEN v_open THEN p_old.held_prompt + p_old.held_completion ELSE p_old.prompt + p_old.completion END)
		WHERE tenant = p_old.tenant AND day = p_old.day;
	END IF;
	UPDATE control.model_call SET state = p_new.state, prompt = p_new.prompt, cached = p_new.cached,
		cache_write = p_new.cache_write, completion = p_new.completion, reasoning = p_new.reasoning,
		estimated = p_new.estimated, cost = p_new.cost, fault = p_new.fault, model = p_new.model, first_us = p_new.first_us,
		total_us = p_new.total_us, settled_at = clock_timestamp()
	WHERE id = p_old.id;
END $$;

-- A reservation that a crash took away, as it was: p_call as for budget_reserve. What was spent is spent, so no budget is
-- asked.
CREATE FUNCTION control.model_call_restore(p_id uuid, p_call json) RETURNS control.model_call
LANGUAGE plpgsql AS $$
DECLARE
	v control.model_call := control.model_call_of(p_call);
BEGIN
	v.id := p_id;
	v.repeat := coalesce((SELECT max(c.repeat) + 1 FROM control.model_call c WHERE c.tenant = v.tenant AND c.eid = v.eid
		AND c.node = v.node AND c.attempt = v.attempt AND c.place = v.place), 0);
	PERFORM control.model_hold(v);
	INSERT INTO control.tenant_day AS d (tenant, day, tokens_reserved)
	VALUES (v.tenant, v.day, v.held_prompt + v.held_completion)
	ON CONFLICT (tenant, day) DO UPDATE SET tokens_reserved = d.tokens_reserved + excluded.tokens_reserved;
	INSERT INTO control.token_reservation (id, tenant, day, tokens, expires_at)
	VALUES (v.id, v.tenant, v.day, v.held_prompt + v.held_completion, v.expires_at);
	RETURN v;
END $$;

-- {"tenant","id","model","fault","prompt","cached","cache_write","completion","reasoning","estimated","first_us",
-- "total_us", "call": as it was reserved}: its cost, NULL when there is no such reservation and "call" is left out. One
-- that was settled stays as it is.
CREATE FUNCTION control.budget_settle(p_request json) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET enable_seqscan = off AS $$
DECLARE
	v_id     uuid := p_request->>'id';
	v_tenant int := p_request->>'tenant';
	v_old    control.model_call;
	v_new    control.model_call;
	v_price  control.price;
	v_said   jsonb := p_request; -- parsed once
BEGIN
	-- Neither is the disk waited for here, with the lock held: who settles waits for it afterwards, with others that did
	-- so meanwhile (lib/store/postgres_budget.c), and settles once more what a crash took.
	SET LOCAL synchronous_commit TO off;
	PERFORM control.model_lock(v_tenant);
	-- by its key alone: with the tenant beside it, a planner without statistics reads all calls of the tenant
	SELECT * INTO v_old FROM control.model_call WHERE id = v_id;
	IF v_old.tenant <> v_tenant THEN
		v_old := NULL;
	END IF;
	IF v_old.id IS NULL AND v_said->'call' IS NOT NULL AND (v_said #>> '{call,tenant}') = v_said->>'tenant' THEN
		v_old := control.model_call_restore(v_id, p_request->'call');
	ELSIF v_old.id IS NULL OR v_old.state = 'settled' THEN
		RETURN v_old.cost;
	END IF;
	v_new := v_old;
	v_new.state := 'settled';
	v_new.model := coalesce(nullif(v_said->>'model', ''), v_old.model);
	v_new.fault := coalesce(v_said->>'fault', '');
	v_new.prompt := (v_said->>'prompt')::bigint;
	v_new.cached := least((v_said->>'cached')::bigint, v_new.prompt);
	v_new.cache_write := least((v_said->>'cache_write')::bigint, v_new.prompt - v_new.cached);
	v_new.completion := (v_said->>'completion')::bigint;
	v_new.reasoning := (v_said->>'reasoning')::bigint;
	v_new.estimated := (v_said->>'estimated')::boolean;
	v_new.first_us := (v_said->>'first_us')::bigint;
	v_new.total_us := (v_said->>'total_us')::bigint;
	SELECT p.* INTO v_price FROM control.price_of(v_old.provider_type, v_new.model) p;
	IF NOT FOUND THEN -- a server's own name for what was asked for
		SELECT p.* INTO v_price FROM control.price_of(v_old.provider_type, v_old.model) p;
	END IF;
	v_new.cost := control.model_cost(v_price, v_new.prompt, v_new.cached, v_new.cache_write, v_new.completion);
	PERFORM control.model_settle(v_old, v_new);
	RETURN v_new.cost;
END $$;

-- Settlements were committed without waiting for the disk: true when it has them all. They are seen first and the commit
-- behind that waits for the disk, which a row that is locked makes it do; after a crash some are not seen.
CREATE TABLE control.flush_row (slot int PRIMARY KEY);
INSERT INTO control.flush_row SELECT generate_series(0, 63);

CREATE FUNCTION control.budget_flush(p_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
	PERFORM FROM control.flush_row f WHERE f.slot = pg_backend_pid() % 64 FOR UPDATE;
	RETURN (SELECT bool_and(coalesce((SELECT c.state <> 'open' FROM control.model_call c WHERE c.id = i), false))
	        FROM unnest(p_ids) i);
END $$;

-- Another provider of the chain answered than was reserved for: {"tenant","id","provider_id"}. Prices are that one's.
CREATE FUNCTION control.budget_moved(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant int := (p_request->>'tenant')::int;
	v_type   text;
BEGIN
	EXECUTE format('SELECT body->>''provider_type'' FROM t_%s.resources WHERE id = $1 AND kind = ''llm_provider''', v_tenant)
	INTO v_type USING (p_request->>'provider_id')::uuid;
	UPDATE control.model_call SET provider_id = (p_request->>'provider_id')::uuid, provider_type = v_type
	WHERE id = (p_request->>'id')::uuid AND tenant = v_tenant AND state <> 'settled' AND v_type IS NOT NULL;
	RETURN to_json(FOUND);
END $$;

-- Let a run use a budget's amount once more: {"tenant","eid","budget","wait"}, when that wait of the run was approved.
-- How many portions it has been given; NULL when nobody approved. Doing it twice changes nothing.
CREATE FUNCTION control.budget_allow(p_request json) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_tenant   int := (p_request->>'tenant')::int;
	v_eid      uuid := (p_request->>'eid')::uuid;
	v_approval control.approval;
BEGIN
	PERFORM control.model_lock(v_tenant);
	SELECT a.* INTO v_approval FROM control.wait w JOIN control.approval a ON a.id = w.approval
	WHERE w.eid = v_eid AND w.node = p_request->>'wait' AND w.tenant = v_tenant AND a.status = 'approved';
	IF NOT FOUND OR NOT EXISTS (SELECT FROM control.budget b
	                            WHERE b.id = (p_request->>'budget')::uuid AND b.tenant = v_tenant) THEN
		RETURN NULL;
	END IF;
	INSERT INTO control.budget_portion (tenant, eid, budget, wait)
	VALUES (v_tenant, v_eid, (p_request->>'budget')::uuid, p_request->>'wait') ON CONFLICT DO NOTHING;
	IF FOUND THEN
		PERFORM control.audit_for(v_tenant, json_build_object('user', v_approval.decided_by), 'budget.allow', 'budget',
			p_request->>'budget', json_build_object('execution_id', v_eid, 'approval_id', v_approval.id));
	END IF;
	RETURN (SELECT count(*) FROM control.budget_portion o WHERE o.eid = v_eid AND o.budget = (p_request->>'budget')::uuid);
END $$;

-- ---- what is kept in the document server -----------------------------------------------------------------------------------------
-- The records of runs and the memories of crews and agents count in the tenant's storage, as files do (usage_storage,
-- 0012). Room is taken before something is written, and given back when it was not: never more lies there than is counted
-- here, but for what a crash of PostgreSQL takes of its last 0.6 s. What a crash of a supervisor leaves counted too much
-- (a quarter of a MiB a node) goes with the run.

CREATE TABLE control.kept (
	tenant int    NOT NULL,
	kind   text   NOT NULL CHECK (kind IN ('run', 'memory')),
	owner  uuid   NOT NULL, -- an execution; a crew or agent
	bytes  bigint NOT NULL CHECK (bytes >= 0),
	PRIMARY KEY (tenant, kind, owner)
) WITH (fillfactor = 50);

CREATE FUNCTION control.kept_exists(p_tenant int, p_kind text, p_owner uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_there boolean;
BEGIN
	IF p_kind = 'run' THEN
		RETURN EXISTS (SELECT FROM control.dispatch d WHERE d.eid = p_owner AND d.tenant = p_tenant);
	END IF;
	EXECUTE format('SELECT EXISTS (SELECT FROM t_%s.resources WHERE id = $1 AND kind IN (''agent'', ''crew'')
	                AND deleted_at IS NULL)', p_tenant) INTO v_there USING p_owner;
	RETURN v_there;
END $$;

-- Take p_bytes, or (below 0) give them back. outcome: ok; quota (they do not fit: quota and used are bytes); gone (the run
-- has ended, the crew or agent was deleted).
CREATE FUNCTION control.kept_take(p_tenant int, p_kind text, p_owner uuid, p_bytes bigint)
RETURNS TABLE (outcome text, quota bigint, used bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
#variable_conflict use_column
DECLARE
	v_had  bigint;
	v_more bigint := p_bytes;
BEGIN
	SET LOCAL synchronous_commit TO off;
	INSERT INTO control.usage_storage (tenant) VALUES (p_tenant) ON CONFLICT DO NOTHING;
	SELECT s.bytes INTO used FROM control.usage_storage s WHERE s.tenant = p_tenant FOR UPDATE; -- before rows of kept
	quota := control.storage_limit(p_tenant);
	SELECT k.bytes INTO v_had FROM control.kept k WHERE k.tenant = p_tenant AND k.kind = p_kind AND k.owner = p_owner;
	IF p_bytes > 0 AND used + p_bytes > quota THEN
		outcome := 'quota';
	ELSIF p_bytes > 0 AND NOT control.kept_exists(p_tenant, p_kind, p_owner) THEN
		outcome := 'gone';
	ELSE
		IF p_bytes > 0 THEN
			INSERT INTO control.kept AS k (tenant, kind, owner, bytes) VALUES (p_tenant, p_kind, p_owner, p_bytes)
			ON CONFLICT (tenant, kind, owner) DO UPDATE SET bytes = k.bytes + excluded.bytes;
		ELSE
			v_more := greatest(p_bytes, -coalesce(v_had, 0));
			UPDATE control.kept k SET bytes = k.bytes + v_more
			WHERE k.tenant = p_tenant AND k.kind = p_kind AND k.owner = p_owner;
		END IF;
		UPDATE control.usage_storage SET bytes = greatest(bytes + v_more, 0) WHERE tenant = p_tenant;
		outcome := 'ok';
	END IF;
	RETURN NEXT;
END $$;

GRANT EXECUTE ON FUNCTION control.kept_take(int, text, uuid, bigint) TO windlass_engine;

-- Nothing is kept for these any more.
CREATE FUNCTION control.kept_drop(p_tenant int, p_kind text, p_owners uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_bytes bigint;
BEGIN
	PERFORM FROM control.usage_storage WHERE tenant = p_tenant FOR UPDATE;
	WITH gone AS (DELETE FROM control.kept k WHERE k.tenant = p_tenant AND k.kind = p_kind AND k.owner = ANY (p_owners)
	              RETURNING k.bytes)
	SELECT sum(bytes) INTO v_bytes FROM gone;
	IF v_bytes > 0 THEN
		UPDATE control.usage_storage SET bytes = greatest(bytes - v_bytes, 0) WHERE tenant = p_tenant;
	END IF;
END $$;

-- Room of a tenant's memories that people let it forget: p_bytes of it, or (NULL) all.
CREATE FUNCTION control.my_memory_forgotten(p_owner uuid, p_bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	IF p_bytes IS NULL THEN
		PERFORM control.kept_drop(control.tenant_of_role(), 'memory', ARRAY[p_owner]);
	ELSE
		PERFORM control.kept_take(control.tenant_of_role(), 'memory', p_owner, -greatest(p_bytes, 0));
	END IF;
END $$;
GRANT EXECUTE ON FUNCTION control.my_memory_forgotten(uuid, bigint) TO windlass_tenant;

-- Crews and agents that were deleted a minute ago and longer, whose memories are still there: what was being kept for them
-- has arrived by now. An array of {"tenant","owner"}, {"limit"} at most.
CREATE FUNCTION control.memory_gone_take(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
	v_tenant int;
	v_limit  int := (p_request->>'limit')::int;
	v_gone   uuid[];
	v_found  jsonb := '[]';
BEGIN
	FOR v_tenant IN SELECT DISTINCT k.tenant FROM control.kept k WHERE k.kind = 'memory' ORDER BY 1 LOOP
		BEGIN
			EXECUTE format('SELECT array_agg(g.owner) FROM (SELECT k.owner FROM control.kept k
				LEFT JOIN t_%s.resources r ON r.id = k.owner WHERE k.tenant = $1 AND k.kind = ''memory''
				AND (r.id IS NULL OR r.deleted_at < now() - interval ''1 minute'') LIMIT $2) g', v_tenant)
			INTO v_gone USING v_tenant, v_limit - jsonb_array_length(v_found);
		EXCEPTION WHEN OTHERS THEN -- its tables are going, or locked
			CONTINUE;
		END;
		SELECT v_found || coalesce(jsonb_agg(jsonb_build_object('tenant', v_tenant, 'owner', o)), '[]') INTO v_found
		FROM unnest(v_gone) o;
		EXIT WHEN jsonb_array_length(v_found) >= v_limit;
	END LOOP;
	RETURN v_found;
END $$;

-- The memories of {"tenant","owner"} are gone.
CREATE FUNCTION control.memory_gone_done(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	PERFORM control.kept_drop((p_request->>'tenant')::int, 'memory', ARRAY[(p_request->>'owner')::uuid]);
	RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION control.memory_gone_take(json), control.memory_gone_done(json) TO windlass_engine;

-- ---- upkeep ------------------------------------------------------------------------------------------------------------------

-- Calls that nobody settled in time have used all that they might: their caller died, the model may have worked.
CREATE FUNCTION control.model_calls_expire(p_tenant int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	v_old control.model_call;
BEGIN
	IF NOT EXISTS (SELECT FROM control.model_call c WHERE c.tenant = p_tenant AND c.state = 'open' AND c.expires_at < now()) THEN
		RETURN;
	END IF;
	PERFORM control.model_lock(p_tenant);
	FOR v_old IN SELECT * FROM control.model_call c WHERE c.tenant = p_tenant AND c.state = 'open' AND c.expires_at < now()
	             ORDER BY c.expires_at LIMIT 5000 LOOP
		PERFORM control.model_call_expire(v_old);
	END LOOP;
END $$;

-- Counters of today, and of the runs that called models today, beside what the ledger says. One statement sees both as
-- they were at one moment.
CREATE FUNCTION control.model_drift(p_tenant int)
RETURNS TABLE (scope text, key uuid, day date, calls bigint, prompt bigint, completion bigint, cost numeric,
               held_tokens bigint, held_cost numeric, was bigint)
LANGUAGE sql STABLE AS $$
	WITH today AS (SELECT c.id, c.eid FROM control.model_call c
	               WHERE c.tenant = p_tenant AND c.day = (now() AT TIME ZONE 'UTC')::date),
	keys AS (
		SELECT c.id, k.scope, k.key, c.day FROM today t JOIN control.model_call c ON c.id = t.id,
			LATERAL (VALUES ('tenant', '00000000-0000-0000-0000-000000000000'::uuid), ('flow', c.flow_id),
			                ('agent', c.agent_id)) k(scope, key)
		UNION ALL
		SELECT c.id, 'run', c.eid, '-infinity' FROM control.model_call c
		WHERE c.tenant = p_tenant AND c.eid IN (SELECT t.eid FROM today t)),
	sums AS (
		SELECT k.scope, k.key, k.day, count(*) FILTER (WHERE c.state <> 'open') AS calls,
		       sum(c.prompt)::bigint AS prompt, sum(c.completion)::bigint AS completion, sum(c.cost) AS cost,
		       coalesce(sum(c.held_prompt + c.held_completion) FILTER (WHERE c.state = 'open'), 0)::bigint AS held_tokens,
		       coalesce(sum(c.held_cost) FILTER (WHERE c.state = 'open'), 0) AS held_cost
		FROM keys k JOIN control.model_call c ON c.id = k.id WHERE k.key IS NOT NULL GROUP BY 1, 2, 3)
	SELECT m.scope, m.key, m.day, m.calls, m.prompt, m.completion, m.cost, m.held_tokens, m.held_cost,
	       coalesce(s.prompt + s.completion + s.held_tokens, 0)
	FROM sums m LEFT JOIN control.model_spent s ON s.tenant = p_tenant AND s.scope = m.scope AND s.key = m.key
		AND s.day = m.day
	WHERE (s.calls, s.prompt, s.completion, s.cost, s.held_tokens, s.held_cost) IS DISTINCT FROM
	      (m.calls, m.prompt, m.completion, m.cost, m.held_tokens, m.held_cost)
$$;

-- Put right what differs. Rows of {counter, was, is}.
CREATE FUNCTION control.recount_models(p_tenant int) RETURNS json[]
LANGUAGE plpgsql AS $$
DECLARE
	v       record;
	v_drift json[] := '{}';
BEGIN
	PERFORM control.model_calls_expire(p_tenant);
	IF NOT EXISTS (SELECT FROM control.model_drift(p_tenant)) THEN
		RETURN v_drift;
	END IF;
	PERFORM control.model_lock(p_tenant);
	FOR v IN SELECT * FROM control.model_drift(p_tenant) LOOP
		INSERT INTO control.model_spent (tenant, scope, key, day, calls, prompt, completion, cost, held_tokens, held_cost)
		VALUES (p_tenant, v.scope, v.key, v.day, v.calls, v.prompt, v.completion, v.cost, v.held_tokens, v.held_cost)
		ON CONFLICT (tenant, scope, key, day) DO UPDATE SET calls = excluded.calls, prompt = excluded.prompt,
			completion = excluded.completion, cost = excluded.cost, held_tokens = excluded.held_tokens,
			held_cost = excluded.held_cost;
		v_drift := v_drift || json_build_object('counter', 'models of a ' || v.scope, 'was', v.was,
			'is', v.prompt + v.completion + v.held_tokens);
	END LOOP;
	RETURN v_drift;
END $$;

-- What hangs on executions that are dropped. Their rows in the ledger of use stay as long as all of its rows.
CREATE FUNCTION control.models_drop_executions(p_tenant int, p_eids uuid[]) RETURNS void
LANGUAGE sql AS $$
	DELETE FROM control.model_spent WHERE tenant = p_tenant AND scope = 'run' AND key = ANY (p_eids);
	DELETE FROM control.budget_portion WHERE eid = ANY (p_eids);
	SELECT control.kept_drop(p_tenant, 'run', p_eids);
$$;

-- Calls of days that tenants' plans keep no longer, and counters of days long gone; {"limit"} at most. {"dropped"}: how
-- many calls.
CREATE FUNCTION control.model_calls_drop(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_left  int := (p_request->>'limit')::int;
	v_count int;
	v_today date := (now() AT TIME ZONE 'UTC')::date;
	v_quota record;
BEGIN
	FOR v_quota IN SELECT tenant, v_today - retention_days AS before FROM control.quota ORDER BY tenant LOOP
		DELETE FROM control.model_call WHERE ctid = ANY (ARRAY(SELECT ctid FROM control.model_call c
			WHERE c.tenant = v_quota.tenant AND c.day < v_quota.before ORDER BY c.day LIMIT v_left));
		GET DIAGNOSTICS v_count = ROW_COUNT;
		v_left := v_left - v_count;
		EXIT WHEN v_left = 0;
	END LOOP;
	DELETE FROM control.model_spent s WHERE s.day > '-infinity' AND s.day < v_today - 400;
	DELETE FROM control.budget_mark m WHERE m.day < v_today - 400;
	RETURN json_build_object('dropped', (p_request->>'limit')::int - v_left);
END $$;

-- ---- what a call needs: providers, agents, crews --------------------------------------------------------------------------------

-- A provider and those that it fails over to, nearest first: its own list, then the lists of those, each provider once
-- and ten at most. Those that are switched off or archived are left out with what only they lead to. p_provider NULL: the
-- oldest that is not for demonstrations, else the oldest, else a demo provider that nobody made. NULL: there is none.
CREATE FUNCTION control.providers_for_run(p_tenant int, p_provider uuid) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_ids  uuid[];
	v_at   int := 1;
	v_next uuid[];
	v_rows json;
	c_open constant text := 'kind = ''llm_provider'' AND deleted_at IS NULL AND state <> ''archived''
	                         AND (body->>''is_active'')::boolean';
BEGIN
	EXECUTE format('SELECT ARRAY(SELECT id FROM t_%s.resources WHERE %s AND ($1 IS NULL OR id = $1)
	                ORDER BY body->>''provider_type'' = ''demo'', created_at, id LIMIT 1)', p_tenant, c_open)
	INTO v_ids USING p_provider;
	IF v_ids = '{}' THEN
		RETURN CASE WHEN p_provider IS NULL THEN json_build_array(json_build_object('id',
			'00000000-0000-0000-0000-000000000000', 'name', 'Demo', 'version', 1, 'provider_type', 'demo',
			'config', '{}'::json, 'credentials', NULL, 'sealed_key', NULL)) END;
	END IF;
	WHILE v_at <= cardinality(v_ids) AND cardinality(v_ids) < 10 LOOP
		EXECUTE format('SELECT ARRAY(SELECT n.id FROM t_%1$s.resources r
			CROSS JOIN json_array_elements_text(r.body #> ''{config,failover}'') WITH ORDINALITY f(id, place)
			JOIN (SELECT id FROM t_%1$s.resources WHERE %2$s) n ON n.id = f.id::uuid
			WHERE r.id = $1 AND n.id <> ALL ($2) ORDER BY f.place)', p_tenant, c_open) INTO v_next USING v_ids[v_at], v_ids;
		v_ids := (v_ids || v_next)[1:10];
		v_at := v_at + 1;
	END LOOP;
	EXECUTE format('SELECT json_agg(json_build_object(''id'', r.id, ''name'', r.name, ''version'', r.version,
		''provider_type'', r.body->''provider_type'', ''config'', r.body->''config'', ''credentials'', r.credentials,
		''sealed_key'', CASE WHEN r.credentials IS NOT NULL THEN control.tenant_key_of($2) END) ORDER BY i.place)
		FROM unnest($1) WITH ORDINALITY i(id, place) JOIN t_%s.resources r ON r.id = i.id', p_tenant)
	INTO v_rows USING v_ids, p_tenant;
	RETURN v_rows;
END $$;

-- The active providers of a tenant, in the order in which one that nobody named is chosen; without any, the demo that
-- nobody made.
CREATE FUNCTION control.providers_listed(p_tenant int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_rows json;
BEGIN
	EXECUTE format('SELECT coalesce(json_agg(json_build_object(''id'', id, ''name'', name, ''provider_type'',
		body->''provider_type'', ''default_model'', body #> ''{config,default_model}'')
		ORDER BY body->>''provider_type'' = ''demo'', created_at, id), ''[]'')
		FROM t_%s.resources WHERE kind = ''llm_provider'' AND deleted_at IS NULL AND state <> ''archived''
		AND (body->>''is_active'')::boolean', p_tenant) INTO v_rows;
	RETURN CASE WHEN v_rows::text = '[]' THEN json_build_array(json_build_object('id', NULL, 'name', 'Demo',
		'provider_type', 'demo', 'default_model', NULL)) ELSE v_rows END;
END $$;

-- Agents or a crew of a tenant as the API shows them, without what only people want to know: in the order of p_ids.
CREATE FUNCTION control.resources_for_run(p_tenant int, p_kind text, p_ids uuid[]) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_rows json;
BEGIN
	EXECUTE format('SELECT coalesce(json_agg(api.members(json_build_object(''id'', r.id, ''name'', r.name, ''description'',
		r.description, ''state'', r.state, ''version'', r.version), r.body) ORDER BY i.place), ''[]'')
		FROM unnest($2) WITH ORDINALITY i(id, place) JOIN t_%s.resources r ON r.id = i.id
		WHERE r.kind = $1 AND r.deleted_at IS NULL', p_tenant) INTO v_rows USING p_kind, p_ids;
	RETURN v_rows;
END $$;

-- {"crew","agents"} of a crew, its manager behind its agents; of an agent (p_kind): "crew" is null. NULL: there is none.
CREATE FUNCTION control.crew_for_run(p_tenant int, p_kind text, p_id uuid) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_rows json := control.resources_for_run(p_tenant, p_kind, ARRAY[p_id]);
	v_crew json := v_rows->0;
BEGIN
	IF v_crew IS NULL OR p_kind NOT IN ('agent', 'crew') THEN
		RETURN NULL;
	ELSIF p_kind = 'agent' THEN
		RETURN json_build_object('crew', NULL, 'agents', v_rows);
	END IF;
	RETURN json_build_object('crew', v_crew, 'agents', control.resources_for_run(p_tenant, 'agent', ARRAY(
		SELECT a::uuid FROM json_array_elements_text(v_crew->'agent_ids') a) ||
		(v_crew #>> '{config,manager_agent_id}')::uuid));
END $$;

-- A new tenant can ask a model at once: the demo provider, and the platform's own small model where it runs one.
CREATE FUNCTION control.providers_seed(p_tenant int, p_user uuid, p_local_url text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('WITH made AS (
			INSERT INTO t_%1$s.resources (id, kind, name, description, state, body, created_by)
			SELECT control.uuid7(), ''llm_provider'', s.name, s.description, ''active'', s.body, $1
			FROM unnest($2::text[], $3::text[], $4::json[]) s(name, description, body) RETURNING *)
		INSERT INTO t_%1$s.resource_versions (resource_id, version, name, description, state, body, has_credentials, note,
		                                      created_by)
		SELECT id, version, name, description, state, body, false, ''made with the tenant'', created_by FROM made', p_tenant)
	USING p_user,
		ARRAY['Demo'] || CASE WHEN p_local_url <> '' THEN ARRAY['Local model'] END,
		ARRAY['Answers by fixed rules, without a model and without a key: for first runs and tests.']
			|| CASE WHEN p_local_url <> '' THEN ARRAY['A small model that this installation runs by itself.'] END,
		ARRAY['{"provider_type": "demo", "config": {}, "is_active": true}'::json]
			|| CASE WHEN p_local_url <> '' THEN ARRAY[json_build_object('provider_type', 'vllm', 'config',
				json_build_object('base_url', p_local_url, 'default_model', 'local', 'allow_private', true), 'is_active', true)] END;
END $$;

-- ---- operations: budgets ---------------------------------------------------------------------------------------------------

CREATE VIEW control.my_budget WITH (security_barrier) AS
	SELECT b.id, b.name, b.scope, b.target, b.unit, b.amount, b.action, b.provider_id, b.model, b.warn_percent, b.enabled,
	       b.rev, b.created_by, b.created_at, b.updated_at, m.warned_at, m.reached_at,
	       CASE b.unit WHEN 'tokens' THEN s.tokens ELSE s.cost END AS used
	FROM control.budget b
	CROSS JOIN LATERAL (SELECT max(k.at) FILTER (WHERE k.kind = 'warning') AS warned_at,
		max(k.at) FILTER (WHERE k.kind = 'reached') AS reached_at FROM control.budget_mark k
		WHERE k.budget = b.id AND k.day = (now() AT TIME ZONE 'UTC')::date) m
	-- of one that is for each flow or agent: what the one that used the most did. Of runs it cannot be told
	CROSS JOIN LATERAL (SELECT max(c.prompt + c.completion + c.held_tokens) AS tokens, max(c.cost + c.held_cost) AS cost
		FROM control.model_spent c WHERE c.tenant = b.tenant AND c.scope = b.scope AND b.scope <> 'run'
		AND c.day = (now() AT TIME ZONE 'UTC')::date AND (b.target IS NULL OR c.key = b.target)) s
	WHERE b.tenant = control.tenant_of_role();
GRANT SELECT ON control.my_budget TO windlass_tenant;

CREATE FUNCTION api.budget_json(b control.my_budget) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('id', b.id, 'name', b.name, 'scope', b.scope, 'target_id', b.target, 'unit', b.unit,
		'limit', trim_scale(b.amount), 'action', b.action, 'cheaper', CASE WHEN b.action = 'cheaper' THEN
		json_build_object('llm_provider_id', b.provider_id, 'model', b.model) END, 'warn_percent', b.warn_percent,
		'enabled', b.enabled, 'used', CASE WHEN b.scope <> 'run' THEN trim_scale(round(coalesce(b.used, 0), 9)) END,
		'currency', CASE WHEN b.unit = 'money' THEN control.currency() END, 'warned_at', api.time(b.warned_at),
		'reached_at', api.time(b.reached_at), 'rev', b.rev, 'created_by', b.created_by, 'created_at', api.time(b.created_at),
		'updated_at', api.time(b.updated_at))
$$;

CREATE FUNCTION api.budget_answer(p_status int, p_id uuid) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_row control.my_budget;
BEGIN
	SELECT * INTO v_row FROM control.my_budget b WHERE b.id = p_id;
	IF NOT FOUND THEN
		PERFORM api.missing('budget');
	END IF;
	RETURN (p_status, json_build_object('budget', api.budget_json(v_row)), v_row.rev::text,
	        CASE p_status WHEN 201 THEN '/api/v1/budgets/' || p_id END, NULL)::api.answer;
END $$;

CREATE FUNCTION api.budgets_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_page  int := coalesce((p_request #>> '{params,page}')::int, 1);
	v_limit int := coalesce((p_request #>> '{params,limit}')::int, 20);
	v_scope text := p_request #>> '{params,scope}';
	v_total bigint;
	v_found json;
BEGIN
	SELECT count(*) INTO v_total FROM control.my_budget b WHERE v_scope IS NULL OR b.scope = v_scope;
	SELECT coalesce(json_agg(api.budget_json(p) ORDER BY p.created_at, p.id), '[]') INTO v_found
	FROM (SELECT * FROM control.my_budget b WHERE v_scope IS NULL OR b.scope = v_scope ORDER BY b.created_at, b.id
	      LIMIT v_limit OFFSET (v_page::bigint - 1) * v_limit) p;
	RETURN (200, json_build_object('budgets', v_found, 'total', v_total, 'page_info',
		api.page_info(v_page, v_limit, v_total)), NULL, NULL, NULL)::api.answer;
END $$;

CREATE FUNCTION api.budgets_get(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql STABLE AS $$ SELECT api.budget_answer(200, (p_request #>> '{params,id}')::uuid) $$;

-- What is wrong with a budget, as faults. p_new has the members of the API, those that were left out as they were.
CREATE FUNCTION api.budget_faults(p_actor json, p_new json) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
	v_scope  text := p_new->>'scope';
	v_target uuid := (p_new->>'target_id')::uuid;
	v_faults jsonb := '[]';
BEGIN
	IF v_scope = 'tenant' AND v_target IS NOT NULL THEN
		v_faults := v_faults || api.fault('target_id', 'a budget of the tenant has none');
	ELSIF v_scope IN ('flow', 'run') AND v_target IS NOT NULL AND api.flow_access(p_actor, v_target) = 'none' THEN
		v_faults := v_faults || api.fault('target_id', 'names no flow of this tenant');
	ELSIF v_scope = 'agent' AND v_target IS NOT NULL THEN
		v_faults := v_faults || api.reference_faults(json_build_array(json_build_object('type', 'agent', 'id', v_target,
			'path', 'target_id')));
	END IF;
	IF p_new->>'unit' = 'tokens' AND (p_new->>'limit')::numeric <> trunc((p_new->>'limit')::numeric) THEN
		v_faults := v_faults || api.fault('limit', 'is no whole number of tokens');
	END IF;
	IF p_new->>'action' = 'cheaper' AND p_new->>'cheaper' IS NULL THEN
		v_faults := v_faults || api.fault('cheaper', 'is missing: which provider and model to go to');
	ELSIF p_new->>'action' <> 'cheaper' AND p_new->>'cheaper' IS NOT NULL THEN
		v_faults := v_faults || api.fault('cheaper', 'goes with the action cheaper alone');
	ELSIF p_new->>'cheaper' IS NOT NULL THEN
		v_faults := v_faults || api.reference_faults(json_build_array(json_build_object('type', 'llm_provider',
			'id', p_new #>> '{cheaper,llm_provider_id}', 'path', 'cheaper.llm_provider_id')));
	END IF;
	RETURN v_faults;
END $$;

-- Store a budget: p_id NULL makes one. WL412 when p_match names another revision.
CREATE FUNCTION control.budget_put(p_actor json, p_id uuid, p_new json, p_match text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	c_most   constant int := 1000;
	v_tenant int := control.tenant_of_role();
	v_id     uuid := coalesce(p_id, control.uuid7());
	v_rev    int;
BEGIN
	PERFORM control.model_lock(v_tenant);
	IF p_id IS NULL THEN
		IF (SELECT count(*) FROM control.budget b WHERE b.tenant = v_tenant) >= c_most THEN
			RAISE EXCEPTION 'a tenant has at most % budgets', c_most USING ERRCODE = 'WL429';
		END IF;
	ELSE
		SELECT b.rev INTO v_rev FROM control.budget b WHERE b.id = p_id AND b.tenant = v_tenant FOR UPDATE;
		IF NOT FOUND THEN
			PERFORM api.missing('budget');
		END IF;
		PERFORM api.check_match(p_match, v_rev, 'budget');
	END IF;
	INSERT INTO control.budget AS b (id, tenant, name, scope, target, unit, amount, action, provider_id, model, warn_percent,
	                                 enabled, created_by)
	VALUES (v_id, v_tenant, coalesce(p_new->>'name', ''), p_new->>'scope', (p_new->>'target_id')::uuid, p_new->>'unit',
		(p_new->>'limit')::numeric, p_new->>'action', (p_new #>> '{cheaper,llm_provider_id}')::uuid,
		p_new #>> '{cheaper,model}', (p_new->>'warn_percent')::int, coalesce((p_new->>'enabled')::boolean, true),
		(p_actor->>'user')::uuid)
	ON CONFLICT (id) DO UPDATE SET name = excluded.name, amount = excluded.amount, action = excluded.action,
		provider_id = excluded.provider_id, model = excluded.model, warn_percent = excluded.warn_percent,
		enabled = excluded.enabled, rev = b.rev + 1, updated_at = clock_timestamp();
	-- what was told of the old limit is told anew of the new one
	DELETE FROM control.budget_mark m WHERE m.budget = v_id AND m.day = (now() AT TIME ZONE 'UTC')::date;
	RETURN v_id;
EXCEPTION WHEN unique_violation THEN
	RAISE EXCEPTION 'there is another budget of this scope, target, unit and action' USING ERRCODE = 'WL409';
END $$;

CREATE FUNCTION api.budget_save(p_actor json, p_id uuid, p_new json, p_match text) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
	v_faults jsonb := api.budget_faults(p_actor, p_new);
	v_id     uuid;
BEGIN
	IF v_faults <> '[]' THEN
		PERFORM api.refuse_many('WL422', 'the budget has faults', v_faults);
	END IF;
	v_id := control.budget_put(p_actor, p_id, p_new, p_match);
	PERFORM control.audit(p_actor, CASE WHEN p_id IS NULL THEN 'budget.create' ELSE 'budget.update' END, 'budget', v_id::text,
		p_new);
	RETURN v_id;
END $$;

CREATE FUNCTION api.budgets_create(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id uuid := api.budget_save(p_actor, NULL,
		(jsonb_build_object('action', 'stop') || (p_request->'body')::jsonb)::json, NULL);
BEGIN
	RETURN api.budget_answer(201, v_id);
END $$;

-- Whose it is and what it counts stays: that would be another budget. A new action takes "cheaper" away that goes with
-- the old one.
CREATE FUNCTION api.budgets_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_body jsonb := p_request->'body';
	v_old  jsonb := (api.budget_answer(200, v_id)).body->'budget';
BEGIN
	IF v_body->>'action' <> 'cheaper' AND NOT v_body ? 'cheaper' THEN
		v_old := v_old - 'cheaper';
	END IF;
	SELECT jsonb_object_agg(o.key, o.value) INTO v_old FROM jsonb_each(v_old) o WHERE o.key IN ('name', 'scope', 'target_id',
		'unit', 'limit', 'action', 'cheaper', 'warn_percent', 'enabled');
	PERFORM api.budget_save(p_actor, v_id, (v_old || v_body)::json, p_request #>> '{params,If-Match}');
	RETURN api.budget_answer(200, v_id);
END $$;

CREATE FUNCTION control.budget_drop(p_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_name text;
BEGIN
	PERFORM control.model_lock(control.tenant_of_role());
	DELETE FROM control.budget b WHERE b.id = p_id AND b.tenant = control.tenant_of_role() RETURNING b.name INTO v_name;
	IF NOT FOUND THEN
		PERFORM api.missing('budget');
	END IF;
	RETURN v_name;
END $$;

CREATE FUNCTION api.budgets_delete(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_id   uuid := (p_request #>> '{params,id}')::uuid;
	v_name text := control.budget_drop(v_id);
BEGIN
	PERFORM control.audit(p_actor, 'budget.delete', 'budget', v_id::text, json_build_object('name', v_name));
	RETURN (204, NULL, NULL, NULL, NULL)::api.answer;
END $$;

-- ---- operations: use --------------------------------------------------------------------------------------------------------

-- What a run's model calls came to so far: zeros when it asked no model.
CREATE FUNCTION control.run_usage(p_tenant int, p_eid uuid) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_build_object('prompt_tokens', coalesce(max(s.prompt), 0), 'completion_tokens', coalesce(max(s.completion), 0),
		'cost', coalesce(trim_scale(round(max(s.cost), 9)), 0), 'model_calls', coalesce(max(s.calls), 0))
	FROM control.model_spent s
	WHERE s.tenant = p_tenant AND s.scope = 'run' AND s.key = p_eid AND s.day = '-infinity'
$$;

CREATE FUNCTION control.my_run_usage(p_eid uuid) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	RETURN control.run_usage(control.tenant_of_role(), p_eid);
END $$;

CREATE FUNCTION api.run_usage(p_eid uuid) RETURNS json
LANGUAGE sql STABLE AS $$ SELECT control.my_run_usage(p_eid) $$;

CREATE FUNCTION control.usage_figures(p_calls bigint, p_failed bigint, p_prompt numeric, p_cached numeric, p_write numeric,
                                      p_completion numeric, p_reasoning numeric, p_cost numeric) RETURNS json
LANGUAGE sql IMMUTABLE AS $$
	SELECT json_build_object('calls', p_calls, 'failed', p_failed, 'prompt_tokens', coalesce(p_prompt, 0),
		'cached_tokens', coalesce(p_cached, 0), 'cache_write_tokens', coalesce(p_write, 0),
		'completion_tokens', coalesce(p_completion, 0), 'reasoning_tokens', coalesce(p_reasoning, 0),
		'cost', trim_scale(round(coalesce(p_cost, 0), 9)))
$$;

-- A day that came as text; WL400 naming the parameter when there is none such.
CREATE FUNCTION control.read_day(p_text text, p_path text) RETURNS date
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN -- PostgreSQL knows a yesterday
		RAISE EXCEPTION 'not a day' USING ERRCODE = 'datetime_field_overflow';
	END IF;
	RETURN p_text::date;
EXCEPTION WHEN data_exception THEN
	PERFORM api.refuse('WL400', 'a day is none', p_path, 'is not a day such as 2026-01-31');
END $$;

-- Groups of the tenant's model calls, those that cost the most first (days: the newest), and all of them together
-- ("totals"). p_params: group_by, from, to, flow_id, agent_id, execution_id, page, limit. p_hidden: flows that are private to
-- others: by flow they are one group, "other", and by themselves they cannot be asked for.
CREATE FUNCTION control.my_model_usage(p_params json, p_hidden uuid[]) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_today date := (now() AT TIME ZONE 'UTC')::date;
	v_to    date := coalesce(control.read_day(p_params->>'to', 'to'), v_today);
	v_from  date := coalesce(control.read_day(p_params->>'from', 'from'), v_to - CASE
		WHEN p_params->>'execution_id' IS NOT NULL THEN 3650 ELSE 29 END);
	v_by    text := coalesce(p_params->>'group_by', 'day');
	v_page  int := coalesce((p_params->>'page')::int, 1);
	v_limit int := coalesce((p_params->>'limit')::int, 20);
	v_found json;
	v_sum   constant text := 'control.usage_figures(count(*), count(*) FILTER (WHERE c.fault <> ''''), sum(c.prompt),
		sum(c.cached), sum(c.cache_write), sum(c.completion), sum(c.reasoning), sum(c.cost))';
BEGIN
	IF v_to < v_from OR v_to - v_from > 3650 THEN
		PERFORM api.refuse('WL422', 'a parameter is wrong', 'to', 'is before from, or more than 3650 days behind it');
	END IF;
	EXECUTE format($sql$
		WITH c AS MATERIALIZED (SELECT c.*, %s AS grouped FROM control.model_call c
			WHERE c.tenant = control.tenant_of_role() AND c.day BETWEEN $1 AND $2 AND c.state <> 'open'
			  AND ($3 IS NULL OR c.flow_id = $3 AND c.flow_id <> ALL ($8)) AND ($4 IS NULL OR c.agent_id = $4) AND ($5 IS NULL OR c.eid = $5)),
		g AS (SELECT c.grouped, %s AS figures, sum(c.cost) AS cost, sum(c.prompt + c.completion) AS tokens
		      FROM c GROUP BY c.grouped),
		p AS (SELECT g.*, row_number() OVER (ORDER BY %s, g.grouped) AS place FROM g)
		SELECT json_build_object('groups', (SELECT coalesce(json_agg(json_build_object('key', p.grouped, 'figures', p.figures)
				ORDER BY p.place), '[]') FROM p WHERE p.place > ($6::bigint - 1) * $7 AND p.place <= $6::bigint * $7),
			'total', (SELECT count(*) FROM g), 'totals', (SELECT %s FROM c))
		$sql$, CASE v_by WHEN 'day' THEN 'c.day::text' WHEN 'flow' THEN
			'CASE WHEN c.flow_id = ANY ($8) THEN ''other'' ELSE c.flow_id::text END' WHEN 'agent' THEN 'c.agent_id::text'
			WHEN 'provider' THEN 'c.provider_id::text' WHEN 'model' THEN 'c.model' ELSE 'c.caller' END, v_sum,
		CASE v_by WHEN 'day' THEN 'g.grouped DESC' ELSE 'g.cost DESC, g.tokens DESC' END, v_sum)
	INTO v_found USING v_from, v_to, (p_params->>'flow_id')::uuid, (p_params->>'agent_id')::uuid,
		(p_params->>'execution_id')::uuid, v_page, v_limit, p_hidden;
	RETURN v_found;
END $$;

-- What people call a group.
CREATE FUNCTION api.usage_name(p_actor json, p_by text, p_key text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
	IF p_by = 'flow' AND p_key = 'other' THEN
		RETURN 'private flows of others';
	ELSIF p_by = 'flow' THEN
		RETURN (SELECT f.name FROM flows f WHERE f.id = p_key::uuid AND f.deleted_at IS NULL);
	ELSIF p_by IN ('agent', 'provider') THEN
		RETURN (SELECT r.name FROM resources r WHERE r.id = p_key::uuid AND r.deleted_at IS NULL);
	END IF;
	RETURN p_key;
END $$;

CREATE FUNCTION api.usage_llm(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql AS $$
DECLARE
	v_params json := p_request->'params';
	v_by     text := coalesce(v_params->>'group_by', 'day');
	v_found  json;
BEGIN
	IF v_params->>'execution_id' IS NOT NULL THEN
		PERFORM api.need_execution(p_actor, (v_params->>'execution_id')::uuid, 'view');
	END IF;
	v_found := control.my_model_usage(v_params, ARRAY(SELECT f.id FROM flows f
		WHERE f.visibility = 'private' AND api.flow_access(p_actor, f.id) = 'none'));
	RETURN (200, json_build_object('group_by', v_by, 'currency', control.currency(),
		'usage', (SELECT coalesce(json_agg(api.members(json_build_object('key', g->'key', 'name',
			api.usage_name(p_actor, v_by, g->>'key')), g->'figures') ORDER BY o), '[]')
			FROM json_array_elements(v_found->'groups') WITH ORDINALITY e(g, o)),
		'totals', v_found->'totals', 'total', v_found->'total', 'page_info',
		api.page_info(coalesce((v_params->>'page')::int, 1), coalesce((v_params->>'limit')::int, 20),
		              (v_found->>'total')::bigint)), NULL, NULL, NULL)::api.answer;
END $$;

-- ---- operations: prices -------------------------------------------------------------------------------------------------------

CREATE FUNCTION api_operator.operator_prices_list(p_actor json, p_request json) RETURNS api.answer
LANGUAGE sql SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT ROW(200, control.prices_json(), NULL, NULL, NULL)::api.answer
$$;

-- All of an operator's own prices at once: they hold from the next call on.
CREATE FUNCTION api_operator.operator_prices_update(p_actor json, p_request json) RETURNS api.answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
DECLARE
	v_prices json := p_request #> '{body,prices}';
BEGIN
	IF EXISTS (SELECT FROM json_array_elements(v_prices) w GROUP BY w->>'provider_type', w->>'model' HAVING count(*) > 1) THEN
		PERFORM api.refuse('WL422', 'a price is there twice', 'prices', 'has two of one provider_type and model');
	END IF;
	PERFORM control.prices_replace('operator', v_prices);
	RETURN ROW(200, control.prices_json(), NULL, NULL, NULL)::api.answer;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.currency(), control.budget_put(json, uuid, json, text), control.budget_drop(uuid),
	control.my_model_usage(json, uuid[]), control.my_run_usage(uuid) TO windlass_tenant;
GRANT EXECUTE ON FUNCTION control.budget_reserve(json), control.budget_settle(json), control.budget_moved(json),
	control.budget_flush(uuid[]), control.budget_allow(json), control.model_calls_drop(json), control.providers_for_run(int, uuid),
	control.providers_listed(int), control.crew_for_run(int, text, uuid) TO windlass_engine;

-- ---- the gateway -------------------------------------------------------------------------------------------------------------

-- The web server asks models as well, for clients from outside and never for a run: it gets functions of its own, by
-- which no call of a run can be reserved, settled or moved.

-- A tenant's providers as of when: each change of one raises the number.
CREATE TABLE control.provider_state (
	tenant int    PRIMARY KEY,
	number bigint NOT NULL
);

CREATE FUNCTION control.provider_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	INSERT INTO control.provider_state AS s (tenant, number) VALUES (substr(TG_TABLE_SCHEMA, 3)::int, 1)
	ON CONFLICT (tenant) DO UPDATE SET number = s.number + 1;
	RETURN NULL;
END $$;

CREATE FUNCTION control.tenant_ddl_0015_models(p_schema text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($ddl$
		CREATE TRIGGER provider_changed AFTER INSERT OR UPDATE ON %1$I.resources FOR EACH ROW
		WHEN (NEW.kind = 'llm_provider') EXECUTE FUNCTION control.provider_changed();
	$ddl$, p_schema);
END $$;
SELECT control.tenant_ddl_everywhere('tenant_ddl_0015_models');

-- That number and one, so that 0 is none.
CREATE FUNCTION control.provider_stamp(p_tenant int) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN 1 + coalesce((SELECT s.number FROM control.provider_state s WHERE s.tenant = p_tenant), 0);
END $$;

-- Rows of providers with "stamp" in each: the gateway remembers them, and names it when it reserves.
CREATE FUNCTION control.stamped(p_tenant int, p_rows json) RETURNS json
LANGUAGE sql STABLE AS $$
	SELECT json_agg((r::jsonb || jsonb_build_object('stamp', control.provider_stamp(p_tenant)))::json ORDER BY o)
	FROM json_array_elements(p_rows) WITH ORDINALITY e(r, o)
$$;

-- Whether a reserved or unknown call is one of those.
CREATE FUNCTION control.gateway_may(p_tenant int, p_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN NOT EXISTS (SELECT FROM control.model_call c WHERE c.id = p_id
		AND (c.tenant <> p_tenant OR c.eid IS NOT NULL OR c.caller NOT IN ('gateway', 'chat')));
END $$;

-- As the functions budget_* that they call. A call whose "stamp" is of providers that have changed since is 'stale', and
-- nothing is reserved: what was remembered of them does not count from the next call on.
CREATE FUNCTION control.gateway_reserve(p_call json) RETURNS control.budget_answer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	IF p_call->>'eid' IS NOT NULL OR coalesce(p_call->>'caller', '') NOT IN ('gateway', 'chat')
	   OR NOT control.gateway_may((p_call->>'tenant')::int, (p_call->>'id')::uuid) THEN
		RAISE EXCEPTION 'the gateway reserves calls of its own alone';
	END IF;
	IF (p_call->>'stamp')::bigint <> control.provider_stamp((p_call->>'tenant')::int) THEN
		RETURN ROW('stale', NULL, '', '', 0, 0, NULL, NULL, NULL, NULL)::control.budget_answer;
	END IF;
	RETURN control.budget_reserve(p_call);
END $$;

CREATE FUNCTION control.gateway_settle(p_request json) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	IF p_request #>> '{call,eid}' IS NOT NULL OR coalesce(p_request #>> '{call,caller}', 'gateway') NOT IN ('gateway', 'chat')
	   OR NOT control.gateway_may((p_request->>'tenant')::int, (p_request->>'id')::uuid) THEN
		RAISE EXCEPTION 'the gateway settles calls of its own alone';
	END IF;
	RETURN control.budget_settle(p_request);
END $$;

CREATE FUNCTION control.gateway_flush(p_ids uuid[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	RETURN control.budget_flush(p_ids);
END $$;

CREATE FUNCTION control.gateway_moved(p_request json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = control, pg_temp AS $$
BEGIN
	IF NOT control.gateway_may((p_request->>'tenant')::int, (p_request->>'id')::uuid) THEN
		RAISE EXCEPTION 'the gateway moves calls of its own alone';
	END IF;
	RETURN control.budget_moved(p_request);
END $$;

CREATE FUNCTION control.gateway_providers(p_tenant int, p_provider uuid) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.stamped(p_tenant, control.providers_for_run(p_tenant, p_provider))
$$;

CREATE FUNCTION control.gateway_listed(p_tenant int) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = control, pg_temp AS $$
	SELECT control.stamped(p_tenant, control.providers_listed(p_tenant))
$$;

GRANT EXECUTE ON FUNCTION control.gateway_reserve(json), control.gateway_settle(json), control.gateway_moved(json),
	control.gateway_flush(uuid[]), control.gateway_providers(int, uuid), control.gateway_listed(int) TO windlass_web;
