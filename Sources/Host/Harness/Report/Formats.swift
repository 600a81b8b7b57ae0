import Certificates

/// A report for machines.
public protocol ReportFormat {
  /// The whole report as text, with its last line's end.
  static func text(_ report: RunReport) -> String
}

/// Test Anything Protocol, version 13: what perl's TAP::Parser and others read. Version 14 has
/// nothing that is needed here, and they refuse it.
public enum TAPFormat: ReportFormat {
  /// The whole report.
  public static func text(_ report: RunReport) -> String {
    var lines = ["TAP version 13", "1..\(report.results.count)"]
    for (index, result) in report.results.enumerated() {
      let head = "\(result.isFailure ? "not ok" : "ok") \(index + 1) - \(result.test.id)"
      switch result.outcome {
      case .passed: lines.append(head)
      case .skipped, .missed, .off:
        let reason = result.outcome.reason ?? ""
        lines.append("\(head) # SKIP \(oneLine(reason))")
      case .failed:
        lines += [head, "  ---", "  summary: \(JSONValue.string(result.test.summary).text())"]
        lines.append("  findings:")
        for finding in result.findings {
          lines.append("    - message: \(JSONValue.string(finding.message).text())")
          lines.append("      seen_in: \(finding.seenIn)")
          lines.append("      reproduce: \(JSONValue.string(report.reproduction(finding)).text())")
        }
        lines.append("  ...")
      }
      for text in result.texts {
        lines += text.split(separator: "\n", omittingEmptySubsequences: false).map { "# \($0)" }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func oneLine(_ text: String) -> String {
    String(text.map { $0 == "\n" ? " " : $0 })
  }
}

/// JUnit's XML, as build servers read it.
public enum JUnitFormat: ReportFormat {
  /// The whole report.
  public static func text(_ report: RunReport) -> String {
    let totals = report.totals
    let name = escape(report.backend.map { "\($0.name) \($0.version)" } ?? report.settings.path)
    var lines = [
      #"<?xml version="1.0" encoding="UTF-8"?>"#,
      #"<testsuites name="\#(name)" tests="\#(report.results.count)" failures="\#(totals.failed)" "#
        + #"skipped="\#(totals.skipped + totals.off)" time="\#(time(report.results))">"#,
    ]
    for group in TestGroup.allCases {
      let results = report.results.filter { $0.test.group == group }
      guard !results.isEmpty else { continue }
      let skipped = results.count { $0.outcome.reason != nil }
      lines.append(
        #"  <testsuite name="\#(group.rawValue)" tests="\#(results.count)" "#
          + #"failures="\#(results.count(where: \.isFailure))" skipped="\#(skipped)" "#
          + #"time="\#(time(results))">"#)
      for result in results { lines += testCase(result, report) }
      lines.append("  </testsuite>")
    }
    return (lines + ["</testsuites>"]).joined(separator: "\n") + "\n"
  }

  private static func time(_ results: [TestResult]) -> String {
    fixed(results.reduce(0) { $0 + $1.seconds }, 3)
  }

  private static func testCase(_ result: TestResult, _ report: RunReport) -> [String] {
    let head =
      #"    <testcase classname="\#(result.test.group.rawValue)" name="\#(escape(result.test.id))" "#
      + #"time="\#(fixed(result.seconds, 3))""#
    var inner: [String] = []
    switch result.outcome {
    case .passed: break
    case .skipped, .missed, .off:
      let reason = result.outcome.reason ?? ""
      inner.append(#"      <skipped message="\#(escape(reason))"/>"#)
    case .failed:
      for finding in result.findings {
        inner.append(
          #"      <failure message="\#(escape(finding.message))">"#
            + escape("seen in \(finding.seenIn)\n\(report.reproduction(finding))") + "</failure>")
      }
    }
    if !result.texts.isEmpty {
      inner.append(
        "      <system-out>\(escape(result.texts.joined(separator: "\n\n")))</system-out>")
    }
    return inner.isEmpty ? [head + "/>"] : [head + ">"] + inner + ["    </testcase>"]
  }

  /// Text as XML has it, in attributes too.
  static func escape(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      case "\n": out += "&#10;"
      default:
        // Not allowed in XML 1.0, whatever is done to them.
        let isBad =
          scalar.value < 0x20 && scalar != "\t" || scalar.value == 0xfffe || scalar.value == 0xffff
        out.unicodeScalars.append(isBad ? "?" : scalar)
      }
    }
    return out
  }
}

/// JSON; what `--baseline` reads.
public enum JSONFormat: ReportFormat {
  /// The whole report.
  public static func text(_ report: RunReport) -> String {
    let totals = report.totals
    let backend = report.backend.map { backend in
      JSONValue.object([
        ("name", .string(backend.name)), ("version", .string(backend.version)),
        ("wire_format", .string(backend.wireFormat)),
      ])
    }
    let settings = report.settings
    return JSONValue.object([
      ("file", .string(settings.path)), ("backend", backend ?? .null),
      ("seed", .string(String(settings.seed))), ("quick", .bool(settings.isQuick)),
      ("level", .number(Double(settings.level.number))), ("strict", .bool(settings.isStrict)),
      ("corpus", settings.pageFile.map { .string($0) } ?? .null),
      ("seeds", .array(report.seeds.map { .string(String($0)) })),
      (
        "options",
        .object(settings.options.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
      ),
      ("passed", .number(Double(totals.passed))), ("failed", .number(Double(totals.failed))),
      ("skipped", .number(Double(totals.skipped))), ("off", .number(Double(totals.off))),
      ("results", .array(report.results.map { value($0, report) })),
    ]).text() + "\n"
  }

  private static func value(_ result: TestResult, _ report: RunReport) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("id", .string(result.test.id)), ("group", .string(result.test.group.rawValue)),
      ("summary", .string(result.test.summary)),
    ]
    switch result.outcome {
    case .passed: members.append(("outcome", .string("passed")))
    case .failed: members.append(("outcome", .string("failed")))
    case .off(let reason):
      members += [("outcome", .string("off")), ("reason", .string(reason))]
    case .skipped(let reason), .missed(let reason):
      members += [("outcome", .string("skipped")), ("reason", .string(reason))]
      if case .missed = result.outcome { members.append(("could_have_run", .bool(true))) }
    }
    members.append(("seconds", .number((result.seconds * 1000).rounded() / 1000)))
    if !result.findings.isEmpty {
      members.append(
        (
          "findings",
          .array(
            result.findings.map { finding in
              .object([
                ("message", .string(finding.message)), ("seen_in", .string(finding.seenIn)),
                ("reproduce", .string(report.reproduction(finding))),
                ("case", finding.caseFile.map { .string($0) } ?? .null),
              ])
            })
        ))
    }
    if !result.metrics.isEmpty {
      members.append(
        (
          "metrics",
          .object(
            result.metrics.map { metric in
              (
                metric.name,
                .object([("value", .number(metric.value)), ("unit", .string(metric.unit))])
              )
            })
        ))
    }
    return .object(members)
  }

  /// The catalogue: an array of objects with `id`, `group` and `summary`.
  public static func catalogue(_ tests: [TestDescription]) -> String {
    JSONValue.array(
      tests.map { test in
        .object([
          ("id", .string(test.id)), ("group", .string(test.group.rawValue)),
          ("summary", .string(test.summary)),
        ])
      }
    ).text() + "\n"
  }
}
