# Answers for Ruby: one JSON line in ({"pattern":, "options":, "values": [...]}), one out ({"error":} or {"found": [...]}).
require "json"
$stdout.sync = true
$VERBOSE = nil
STDIN.set_encoding("UTF-8")
STDIN.each_line do |line|
  asked = JSON.parse(line)
  begin
    regexp = Regexp.new(asked["pattern"], asked["options"])
    found = asked["values"].map { |value| regexp.match?(value) }
    puts JSON.generate({ "found" => found })
  rescue RegexpError => error
    puts JSON.generate({ "error" => error.message.scrub })
  end
end
