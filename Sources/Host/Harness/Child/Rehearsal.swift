/// Does in the zygote what every test does anyway and no backend is needed for, so that what is
/// made on first use is there when a child is forked: tables, the metadata of types, the addresses
/// of functions.
///
/// Leaves no descriptor, no thread and no memory that a test would look at.
enum Rehearsal {
  static func run(_ order: ChildOrder) {
    // Nothing that is said here is for anybody.
    let reporter = Reporter(test: "") { _ = $0.text }
    reporter.say(.backend(name: "", version: "", wireFormat: ""))
    reporter.find(nil, "nothing")
    _ = ABI.sizes[0]
    _ = ProcessState().difference(from: ProcessState())

    let shape = Shape(pageSize: 4096, pageCount: 4)
    var random = Seeded(1)
    let source = Block(pageSize: shape.pageSize, pages: 4, kind: .source)
    let target = Block(pageSize: shape.pageSize, pages: 4, kind: .target)
    for content in Content.allCases { source.fill(content, &random) }
    target.poison()
    let offsets = source.pick(shape.pageCount, &random)
    let inPacket = Set(offsets)
    for offset in target.offsets where inPacket.contains(offset) {
      _ = source.equals(target, at: offset) || target.isPoisoned(offset)
    }
    let list = PageLists(capacity: shape.pageCount)
    _ = list.show(offsets)
    list.hide()
    TestHost.rehearse(Context(order, reporter))
  }
}
