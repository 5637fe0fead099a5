-- For wrk: sends the requests in a file, one after the other and again from the first.
-- In the file, the length of a request and a line break precede each. A number of eight digits, another one each time
-- and counted on from the second argument, replaces every "@@@@@@@@".
local requests, at, number = {}, 0, 0

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   number = tonumber(arguments[2])
   for length in function() return file:read("*l") end do
      local text, pieces, from = file:read(tonumber(length)), {}, 1
      repeat
         local first, last = text:find("@@@@@@@@", from, true)
         pieces[#pieces + 1] = text:sub(from, (first or 0) - 1)
         from = (last or 0) + 1
      until not first
      requests[#requests + 1] = pieces
   end
end

function request()
   at = at % #requests + 1
   number = number + 1
   return table.concat(requests[at], ("%08d"):format(number))
end

function done(summary)
   local errors = summary.errors
   io.write(("\n%d %d %d %d %d\n"):format(summary.requests, summary.duration, summary.bytes, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
