-- Arguments: same, varying or upload. Ends the output of wrk with one line of JSON.

local function varying()
   local mark, number = "?number?", 0
   wrk.headers["X-Request-Id"] = mark
   local request = wrk.format()
   local from, to = request:find(mark, 1, true)
   local head, tail = request:sub(1, from - 1), request:sub(to + 1)
   return function()
      number = number + 1
      return head .. number .. tail
   end
end

function init(args)
   if args[1] == "varying" then
      request = varying()
   elseif args[1] == "upload" then
      wrk.method = "POST"
      wrk.body = string.rep("x", 1048576)
   end
end

function done(summary, latency)
   local errors = 0
   for _, count in pairs(summary.errors) do errors = errors + count end
   io.write(string.format(
      '{"requests": %d, "microseconds": %d, "errors": %d, "p50": %d, "p99": %d}\n',
      summary.requests, summary.duration, errors,
      latency:percentile(50), latency:percentile(99)))
end
