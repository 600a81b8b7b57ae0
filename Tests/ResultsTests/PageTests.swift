import Chart
import Foundation
import Results
import Testing

/// The page and what it is made of.
@Suite("Page")
struct PageTests {
  private var machine: Machine {
    Machine(
      processor: "A|B 9000", cores: 2, isVirtual: true, memory: 24 << 30, kernel: "6.1",
      hugePages: ("madvise", "never"), store: "tmpfs rw,size=24g", qemus: ["11.1.0, TCG"],
      commit: "0123456789ab", date: "2026-01-02T03:04:05Z", load: 0.25)
  }

  @Test("a table has words on the left, figures on the right, and no column too many")
  func table() {
    var table = Table(["way", "of", "ratio"], words: 2)
    table.rows = [["a|b", "x", "1"]]
    #expect(
      table.markdown == """
        | way | of | ratio |
        | --- | --- | ---: |
        | a\\|b | x | 1 |
        """)
  }

  @Test("a page says how it is made again, where it was made, and what its parts say")
  func page() throws {
    let chart = BarChart(title: "Bars", names: ["a"])
    let page = Page(
      machine: machine, command: "make bench", seconds: 90,
      sections: [
        Section("One", [.text("Words."), .picture("one", chart)]),
        Section("Two", failure: "no QEMU"),
      ])
    let text = page.markdown(pictures: "results")
    #expect(text.hasPrefix("# Results\n\n"))
    #expect(text.contains("`make bench`") && text.contains("1.5 minutes"))
    #expect(text.contains("| processor | A\\|B 9000, virtual |"))
    #expect(text.contains("| memory | 24.0 GiB |"))
    #expect(text.contains("`madvise`, shared memory `never`"))
    #expect(
      text.hasSuffix(
        "## One\n\nWords.\n\n![Bars](results/one.svg)\n\n## Two\n\nNot measured: no QEMU\n"))
    #expect(page.sections[0].pictures.map(\.name) == ["one"])
  }

  @Test("a busy machine is a warning before all figures, a quiet one is none")
  func warning() throws {
    var machine = machine
    machine.others = [("transfer", 0.01), ("codec", 0.05)]
    func text(_ machine: Machine) -> String {
      Page(machine: machine, command: "make bench", seconds: 1, sections: [])
        .markdown(pictures: ".")
    }
    #expect(!text(machine).contains("busy"))
    machine.others[1].share = 0.5
    let busy = text(machine)
    let warning = try #require(busy.range(of: "**The machine was busy**"))
    let figures = try #require(busy.range(of: "| machine |"))
    #expect(warning.lowerBound < figures.lowerBound)
    #expect(busy.contains(": codec 50 %. "))
  }
}
