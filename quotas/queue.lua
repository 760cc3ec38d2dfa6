#!lua name=wl1
-- Who runs next: the queue of one shard, as functions that are atomic because Redis runs one at a time.
--
-- KEYS[1] is the shard's prefix, such as {07}. docs/architecture/contracts.md lists its keys and these functions.
-- Nothing here is the truth: PostgreSQL is. All of it may vanish at any moment and is rebuilt from the ledger.
--
-- What always holds between two calls:
--   an execution has a hash x, and is either in its tenant's queue q or in lease, run and own, never in both;
--   a tenant is on the ring exactly when it has waiting executions and runs fewer than its cap;
--   how many a tenant runs is the cardinality of a set, so no repeated call can leak a slot.
--
-- Fairness is start-time fair queuing over a sorted ring: a visit serves up to `weight` executions and moves the
-- tenant's virtual time on by served/weight. For two tenants that always wait, the services divided by the weights
-- never differ by more than the sum of their visits' (1 + 1).
--
-- Each redis.call costs 1 to 2 microseconds and is most of the time spent here: the code saves calls, not lines.

local NOTREADY = 'NOTREADY'
local GEN_TTL_MS = 5000
local BUILD_TTL_MS = 600000

local function now_ms()
	local time = redis.call('TIME')
	return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- weight, cap and longest queue; a tenant that was not copied from PostgreSQL yet gets the plan's defaults
local function shares(shard, tenant)
	local text = redis.call('HGET', shard .. ':cfg', tenant)
	if not text then
		text = '1 100 10000'
		redis.call('HSET', shard .. ':cfg', tenant, text)
	end
	local weight, cap, longest = string.match(text, '^(%d+) (%d+) (%d+)$')
	return tonumber(weight), tonumber(cap), tonumber(longest)
end

local function ring_bell(shard)
	if redis.call('LLEN', shard .. ':bell') == 0 then
		redis.call('RPUSH', shard .. ':bell', '1')
	end
end

local function ring_bell_for_work(shard)
	if redis.call('EXISTS', shard .. ':ring') == 1 then
		ring_bell(shard)
	end
end

-- No credit for idle time: who comes back starts at the system's virtual time or at its own later one.
local function join_ring(shard, tenant)
	local own = tonumber(redis.call('HGET', shard .. ':vt', tenant) or 0)
	local system = tonumber(redis.call('GET', shard .. ':V') or 0)
	redis.call('ZADD', shard .. ':ring', math.max(own, system), tenant)
end

local function leave_ring(shard, tenant, vt)
	redis.call('ZREM', shard .. ':ring', tenant)
	redis.call('HSET', shard .. ':vt', tenant, vt)
end

-- Put a tenant on the ring or take it off, as its queue and its room demand.
local function settle(shard, tenant)
	local vt = redis.call('ZSCORE', shard .. ':ring', tenant)
	local may_run = redis.call('ZCARD', shard .. ':q:' .. tenant) > 0
	if may_run then
		local _, cap = shares(shard, tenant)
		may_run = redis.call('SCARD', shard .. ':run:' .. tenant) < cap
	end
	if may_run and not vt then
		join_ring(shard, tenant)
	elseif vt and not may_run then
		leave_ring(shard, tenant, vt)
	end
end

local function free_slot(shard, eid, tenant, supervisor)
	redis.call('ZREM', shard .. ':lease', eid)
	redis.call('SREM', shard .. ':run:' .. tenant, eid)
	redis.call('SREM', shard .. ':own:' .. supervisor, eid)
end

-- An attempt is (epoch, gen). What a rebuild loaded was started in the ledger, where an epoch is enough.
local function same_attempt(epoch, gen, entry_epoch, entry_gen)
	return entry_epoch == epoch and (not entry_gen or entry_gen == gen)
end

-- ---- accept -----------------------------------------------------------------------------------------------

local function enqueue(keys, args)
	local shard, gen, tenant, eid, score, epoch = keys[1], args[1], args[2], args[3], args[4], args[5]
	if redis.call('GET', shard .. ':gen') ~= gen then
		return NOTREADY
	end
	local x, q = shard .. ':x:' .. eid, shard .. ':q:' .. tenant
	if redis.call('HSETNX', x, 't', tenant) == 0 then
		return 'DUP'
	end
	redis.call('ZADD', q, score, eid)
	local waiting = redis.call('ZCARD', q)
	local _, cap, longest = shares(shard, tenant)
	if waiting > longest then
		redis.call('ZREM', q, eid)
		redis.call('UNLINK', x)
		return 'QFULL'
	end
	redis.call('HSET', x, 'e', epoch, 'k', score)
	-- behind others it waits on a ring that was rung for already, or at a cap that a completion will lift
	if waiting == 1 and redis.call('SCARD', shard .. ':run:' .. tenant) < cap then
		join_ring(shard, tenant)
		ring_bell(shard)
	end
	return 'OK'
end

-- Take an execution out of the queue, or tell its supervisor. The ledger was told before.
local function cancel(keys, args)
	local shard, eid = keys[1], args[1]
	local x = shard .. ':x:' .. eid
	local entry = redis.call('HMGET', x, 't', 's')
	local tenant, supervisor = entry[1], entry[2]
	if not tenant then
		return 'GONE'
	end
	if supervisor then
		redis.call('HSET', x, 'cx', '1')
		redis.call('PUBLISH', 'wl:ctl:' .. supervisor, eid)
		return 'SIGNALLED'
	end
	redis.call('ZREM', shard .. ':q:' .. tenant, eid)
	redis.call('UNLINK', x)
	settle(shard, tenant)
	return 'REMOVED'
end

-- ---- claim ------------------------------------------------------------------------------------------------

-- Lease executions that were popped from a tenant's queue: `popped` is (eid, score)…; fills the batch of the call.
local function lease_popped(shard, tenant, popped, claim)
	local run = { shard .. ':run:' .. tenant }
	for i = 1, #popped, 2 do
		local eid = popped[i]
		local x = shard .. ':x:' .. eid
		local epoch = redis.call('HINCRBY', x, 'e', 1)
		redis.call('HSET', x, 's', claim.supervisor, 'g', claim.gen)
		run[#run + 1] = eid
		claim.own[#claim.own + 1] = eid
		claim.lease[#claim.lease + 1] = claim.expiry
		claim.lease[#claim.lease + 1] = eid
		claim.inbox[#claim.inbox + 1] = eid .. ' ' .. epoch .. ' ' .. claim.gen .. ' ' .. tenant
	end
	if #popped > 0 then
		redis.call('SADD', unpack(run))
	end
	return #popped / 2
end

-- Serve the tenant at the head of the ring. Returns how many were leased, nil when nobody may run.
local function visit(shard, left, claim)
	local head = redis.call('ZRANGE', shard .. ':ring', 0, 1, 'WITHSCORES')
	local tenant, vt, rival = head[1], tonumber(head[2]), head[3]
	if not tenant then
		return nil
	end
	local weight, cap = shares(shard, tenant)
	local q = shard .. ':q:' .. tenant
	local room = cap - redis.call('SCARD', shard .. ':run:' .. tenant)
	local most = math.min(left, room)
	if rival then
		most = math.min(most, weight)
	end
	local served = most > 0 and lease_popped(shard, tenant, redis.call('ZPOPMIN', q, most), claim) or 0
	claim.vt = vt
	vt = vt + served / weight
	if served == room or served < most or redis.call('ZCARD', q) == 0 then
		leave_ring(shard, tenant, vt)
	else
		redis.call('ZADD', shard .. ':ring', vt, tenant)
	end
	return served
end

local function claim(keys, args)
	local shard, gen, supervisor = keys[1], args[1], args[2]
	local left, offer_ms = tonumber(args[3]), tonumber(args[4])
	if redis.call('GET', shard .. ':gen') ~= gen then
		return NOTREADY
	end
	local inbox = shard .. ':inbox:' .. supervisor
	local batch = {
		supervisor = supervisor, gen = gen, expiry = now_ms() + offer_ms,
		own = { shard .. ':own:' .. supervisor }, lease = { shard .. ':lease' }, inbox = { inbox },
	}
	while left > 0 do
		local served = visit(shard, left, batch)
		if not served then
			break
		end
		left = left - served
	end
	local claimed = #batch.inbox - 1
	if claimed > 0 then
		redis.call('SET', shard .. ':V', batch.vt)
		redis.call('ZADD', unpack(batch.lease))
		redis.call('SADD', unpack(batch.own))
		redis.call('RPUSH', unpack(batch.inbox))
		-- the inbox of a supervisor that died goes away; by then its offers are back in the queue
		redis.call('PEXPIRE', inbox, 2 * offer_ms)
	end
	return claimed
end

-- ---- supervisors ------------------------------------------------------------------------------------------

local function renew(keys, args)
	local shard, supervisor, lease_ms = keys[1], args[1], tonumber(args[2])
	if redis.call('EXISTS', shard .. ':gen') == 0 then
		return NOTREADY
	end
	local expiry = now_ms() + lease_ms
	local lease, outcomes = { shard .. ':lease' }, {}
	for i = 3, #args, 3 do
		local eid = args[i]
		local entry = redis.call('HMGET', shard .. ':x:' .. eid, 'e', 'g', 's', 'cx')
		if entry[3] == supervisor and same_attempt(args[i + 1], args[i + 2], entry[1], entry[2]) then
			lease[#lease + 1] = expiry
			lease[#lease + 1] = eid
			outcomes[#outcomes + 1] = entry[4] and 2 or 1
		else
			outcomes[#outcomes + 1] = 0
		end
	end
	if #lease > 1 then
		redis.call('ZADD', unpack(lease))
	end
	return outcomes
end

local function complete(keys, args)
	local shard, supervisor = keys[1], args[1]
	if redis.call('EXISTS', shard .. ':gen') == 0 then
		return NOTREADY
	end
	local lease, own, entries, tenants = { shard .. ':lease' }, { shard .. ':own:' .. supervisor }, {}, {}
	for i = 2, #args, 3 do
		local eid = args[i]
		local x = shard .. ':x:' .. eid
		local entry = redis.call('HMGET', x, 'e', 'g', 's', 't')
		if entry[3] == supervisor and same_attempt(args[i + 1], args[i + 2], entry[1], entry[2]) then
			lease[#lease + 1] = eid
			own[#own + 1] = eid
			entries[#entries + 1] = x
			-- at once, so that an execution named twice in a call counts once
			redis.call('UNLINK', x)
			redis.call('SREM', shard .. ':run:' .. entry[4], eid)
			tenants[entry[4]] = true
		end
	end
	if #entries == 0 then
		return 0
	end
	redis.call('ZREM', unpack(lease))
	redis.call('SREM', unpack(own))
	for tenant in pairs(tenants) do
		if redis.call('EXISTS', shard .. ':q:' .. tenant) == 1 then
			settle(shard, tenant)
		end
	end
	ring_bell_for_work(shard)
	return #entries
end

-- Append eid, epoch and one more member of the entry of each execution to `out`.
local function with_entries(out, shard, eids, member)
	for _, eid in ipairs(eids) do
		local entry = redis.call('HMGET', shard .. ':x:' .. eid, 'e', member)
		out[#out + 1] = eid
		out[#out + 1] = entry[1]
		out[#out + 1] = entry[2]
	end
	return out
end

local function owned(keys, args)
	local shard, supervisor = keys[1], args[1]
	local gen = redis.call('GET', shard .. ':gen')
	if not gen then
		return NOTREADY
	end
	return with_entries({ gen }, shard, redis.call('SMEMBERS', shard .. ':own:' .. supervisor), 't')
end

-- ---- reaper and sweeper -----------------------------------------------------------------------------------

local function expired(keys, args)
	local shard = keys[1]
	if redis.call('GET', shard .. ':gen') ~= args[1] then
		return NOTREADY
	end
	local eids = redis.call('ZRANGE', shard .. ':lease', '-inf', now_ms(), 'BYSCORE', 'LIMIT', 0, args[2])
	return with_entries({}, shard, eids, 's')
end

-- Free the slot of an attempt, after the ledger has fenced it or its supervisor gave it back: it waits again at its
-- old place. With drop '1' the ledger has no such row any more, so every attempt of it ends here.
local function requeue(keys, args)
	local shard, eid, epoch, gen, drop = keys[1], args[1], args[2], args[3], args[4] == '1'
	if redis.call('EXISTS', shard .. ':gen') == 0 then
		return NOTREADY
	end
	local x = shard .. ':x:' .. eid
	local entry = redis.call('HMGET', x, 'e', 'g', 's', 't', 'k')
	local supervisor, tenant = entry[3], entry[4]
	if not tenant or not drop and not (supervisor and same_attempt(epoch, gen, entry[1], entry[2])) then
		return 0
	end
	local q = shard .. ':q:' .. tenant
	if supervisor then
		free_slot(shard, eid, tenant, supervisor)
	end
	if drop then
		redis.call('ZREM', q, eid)
		redis.call('UNLINK', x)
	else
		redis.call('HDEL', x, 's', 'g')
		redis.call('ZADD', q, entry[5], eid)
	end
	settle(shard, tenant)
	ring_bell_for_work(shard)
	return 1
end

local function missing(keys, args)
	local shard = keys[1]
	if redis.call('GET', shard .. ':gen') ~= args[1] then
		return NOTREADY
	end
	local out = {}
	for i = 2, #args do
		if redis.call('EXISTS', shard .. ':x:' .. args[i]) == 0 then
			out[#out + 1] = i - 2
		end
	end
	return out
end

local function set_shares(keys, args)
	local shard = keys[1]
	for i = 1, #args, 4 do
		local tenant = args[i]
		redis.call('HSET', shard .. ':cfg', tenant, args[i + 1] .. ' ' .. args[i + 2] .. ' ' .. args[i + 3])
		settle(shard, tenant)
	end
	ring_bell_for_work(shard)
	return 'OK'
end

local function touch(keys, args)
	local gen = keys[1] .. ':gen'
	if redis.call('GET', gen) ~= args[1] then
		return NOTREADY
	end
	redis.call('PEXPIRE', gen, GEN_TTL_MS)
	return 'OK'
end

-- ---- rebuild ----------------------------------------------------------------------------------------------

-- Take up to `limit` entries away; the caller repeats it until nothing is left. From the first call on the shard
-- answers NOTREADY to everybody else. Shares stay.
local function reset(keys, args)
	local shard, limit = keys[1], tonumber(args[2])
	redis.call('UNLINK', shard .. ':gen')
	redis.call('SET', shard .. ':building', args[1], 'PX', BUILD_TTL_MS)
	local removed = 0
	for _, eid in ipairs(redis.call('ZRANGE', shard .. ':lease', 0, limit - 1)) do
		local x = shard .. ':x:' .. eid
		local supervisor = redis.call('HGET', x, 's') or ''
		redis.call('UNLINK', x, shard .. ':own:' .. supervisor, shard .. ':inbox:' .. supervisor)
		redis.call('ZREM', shard .. ':lease', eid)
		removed = removed + 1
	end
	for _, tenant in ipairs(redis.call('HKEYS', shard .. ':cfg')) do
		redis.call('UNLINK', shard .. ':run:' .. tenant)
		local popped = removed < limit and redis.call('ZPOPMIN', shard .. ':q:' .. tenant, limit - removed) or {}
		for i = 1, #popped, 2 do
			redis.call('UNLINK', shard .. ':x:' .. popped[i])
		end
		removed = removed + #popped / 2
	end
	redis.call('UNLINK', shard .. ':ring', shard .. ':vt', shard .. ':V', shard .. ':bell')
	return removed
end

local function load_row(shard, row, expiry)
	local x = shard .. ':x:' .. row.eid
	if redis.call('HSETNX', x, 't', row.tenant) == 0 then
		return 0
	end
	redis.call('HSET', x, 'e', row.epoch, 'k', row.score)
	if row.cancel == '1' then
		redis.call('HSET', x, 'cx', '1')
	end
	if row.state == 'R' then
		redis.call('HSET', x, 's', row.supervisor)
		redis.call('ZADD', shard .. ':lease', expiry, row.eid)
		redis.call('SADD', shard .. ':run:' .. row.tenant, row.eid)
		redis.call('SADD', shard .. ':own:' .. row.supervisor, row.eid)
	else
		redis.call('ZADD', shard .. ':q:' .. row.tenant, row.score, row.eid)
	end
	return 1
end

-- Rows of the ledger, while building (key is the token) or later from the sweeper (key is the gen). Idempotent.
local function load(keys, args)
	local shard, key = keys[1], args[1]
	if redis.call('GET', shard .. ':building') ~= key and redis.call('GET', shard .. ':gen') ~= key then
		return NOTREADY
	end
	local expiry, loaded, tenants = now_ms() + tonumber(args[2]), 0, {}
	for i = 3, #args, 7 do
		local row = { eid = args[i], tenant = args[i + 1], state = args[i + 2], epoch = args[i + 3],
			      supervisor = args[i + 4], score = args[i + 5], cancel = args[i + 6] }
		loaded = loaded + load_row(shard, row, expiry)
		tenants[row.tenant] = true
	end
	for tenant in pairs(tenants) do
		shares(shard, tenant) -- a reset finds the tenants by their shares
		settle(shard, tenant)
	end
	ring_bell_for_work(shard)
	return loaded
end

local function publish(keys, args)
	local shard = keys[1]
	if redis.call('GET', shard .. ':building') ~= args[1] then
		return NOTREADY
	end
	redis.call('UNLINK', shard .. ':building')
	redis.call('SET', shard .. ':gen', args[2], 'PX', GEN_TTL_MS)
	ring_bell_for_work(shard)
	return 'OK'
end

-- ---- live events ------------------------------------------------------------------------------------------

-- KEYS[1] is the stream of one execution; it is also the name of the channel. A stream whose `end` never comes (its
-- supervisor died, Redis was full) goes as well, this long after its last event.
local QUIET_S = 86400

local function event(keys, args)
	local stream, kind, data, keep_s, id = keys[1], args[1], args[2], QUIET_S, nil
	for i = 5, #args + 2, 2 do
		id = redis.call('XADD', stream, 'MAXLEN', '~', args[3], '*', 'type', kind, 'data', data)
		redis.call('PUBLISH', stream, id .. ' ' .. kind .. ' ' .. data)
		if kind == 'end' then
			keep_s = args[4]
		end
		kind, data = args[i], args[i + 1]
	end
	redis.call('EXPIRE', stream, keep_s)
	return id
end

-- Functions that free memory must work when there is none left (allow-oom); the others are refused before their
-- first write, so that none stops half-way.
local function register(name, callback, flag)
	redis.register_function{ function_name = 'wl1_' .. name, callback = callback, flags = { flag } }
end

register('enqueue', enqueue)
register('cancel', cancel, 'allow-oom')
register('claim', claim)
register('renew', renew, 'allow-oom')
register('complete', complete, 'allow-oom')
register('owned', owned, 'no-writes')
register('expired', expired, 'no-writes')
register('requeue', requeue, 'allow-oom')
register('missing', missing, 'no-writes')
register('shares', set_shares)
register('touch', touch, 'allow-oom')
register('reset', reset, 'allow-oom')
register('load', load)
register('publish', publish)
register('event', event)
