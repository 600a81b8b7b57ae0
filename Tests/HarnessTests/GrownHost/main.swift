// The harness of a later host: GrownHostTests compiles it, and the loader, with a header whose
// structs have grown.
//
// main LIBRARY FOLDER TEST...: runs the quick form of the named tests, or of all but perf when none
// is named, over LIBRARY, with other backends in FOLDER. The report is TAP.

import Glibc
import Harness

ChildProcess.runIfAsked()

let words = CommandLine.arguments
var settings = HarnessSettings(path: words[1])
settings.pluginFolders = [words[2]]
settings.artifacts = words[2]
settings.isQuick = true
settings.fuzzSeconds = 0.2
settings.timeout = 120
settings.only = words.dropFirst(3).compactMap { TestPattern($0) }
settings.skip = [TestPattern("perf")].compactMap(\.self)
var harness = Harness(settings)
let report = try harness.run()
print(TAPFormat.text(report), terminator: "")
exit(report.exitCode)
