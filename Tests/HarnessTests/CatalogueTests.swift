import CHarness
import Harness
import Testing

/// The list of tests, and what selects from it.
@Suite struct CatalogueTests {
  @Test("every test has a name of its own, a summary, and code")
  func complete() {
    let ids = Catalogue.all.map(\.id)
    #expect(Set(ids).count == ids.count)
    #expect(Rules.names == Set(ids))
    for test in Catalogue.all {
      #expect(test.id.wholeMatch(of: /[a-z]+\/[a-z0-9-]+/) != nil, "\(test.id)")
      #expect(TestGroup(rawValue: String(test.id.prefix { $0 != "/" })) != nil, "\(test.id)")
      #expect(test.id.utf8.count < CHARNESS_NAME_MAX, "\(test.id)")
      #expect((10...90).contains(test.summary.count) && !test.summary.hasSuffix("."), "\(test.id)")
    }
    #expect(Set(Catalogue.all.map(\.group)) == Set(TestGroup.allCases))
  }

  @Test("tests are selected by name, group and regular expression")
  func selection() throws {
    func selected(only: [String], skip: [String] = []) throws -> [String] {
      var settings = HarnessSettings(path: "x")
      settings.only = try only.map { try #require(TestPattern($0)) }
      settings.skip = try skip.map { try #require(TestPattern($0)) }
      return Catalogue.all.filter { settings.selects($0) }.map(\.id)
    }
    #expect(try selected(only: []).count == Catalogue.all.count)
    #expect(try selected(only: ["load/opens"]) == ["load/opens"])
    #expect(try selected(only: ["fuzz"]) == ["fuzz/decode", "fuzz/encode"])
    #expect(try selected(only: ["fuzz"], skip: ["code$"]).isEmpty)
    #expect(
      try selected(only: ["iov-(sum|count)", "load/quiet"])
        == ["load/quiet", "bounds/iov-count", "bounds/iov-sum"])
    #expect(TestPattern("(") == nil && TestPattern("") == nil)
  }
}
