import CProcessState
import Glibc
import PluginAPI

/// `options/trained`: train() makes a file of pages, and nothing else.
enum OptionTraining {
  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    guard library.methods.train != nil else { throw .skipped("it trains nothing") }
    let options = library.options.filter { $0.type == MULTIFD_OPTION_FILE }
    try context.require(!options.isEmpty, "there is train(), and no option that is a file")
    let (descriptors, threads) = (openDescriptors(), process_state_threads())
    for option in options {
      let order = Options.trainingOrder(option, library, context)
      let first = TrainingCall(library, order)
      try context.require(
        judge(first, order, option, context) && first.status > 0,
        "train() of \(order.pages.count / order.pageSize) pages returns \(first.status)"
          + (first.reason.map { " (\(clean($0)))" } ?? ""))
      try again(first, order, option, context)
      try fail(order, option, context)
      guard let name = option.name, let file = try Options.trained(option, context) else {
        continue
      }
      _ = try Options.works(context, [name: file], mayRefuse: false)
    }
    context.check(
      openDescriptors().subtracting(descriptors).isEmpty, "train() leaves descriptors open")
    context.check(process_state_more_threads(threads) <= 0, "train() leaves threads running")
  }

  /// The same pages make the same file, whatever was trained between, wherever they lie, whatever
  /// is in the room.
  private static func again(
    _ first: TrainingCall, _ order: TrainingCall.Order, _ option: OptionEntry, _ context: Context
  ) throws(Stop) {
    let library = try context.library
    let others = Options.trainingOrder(option, library, context, 2)
    judge(TrainingCall(library, others), others, option, context)
    var same = order
    same.filling = Filling.other
    let second = TrainingCall(library, same)
    context.check(
      first.bytes == second.bytes, "train() makes another file of the same pages the second time")
  }

  /// What cannot be done is an error with a reason.
  private static func fail(
    _ order: TrainingCall.Order, _ option: OptionEntry, _ context: Context
  ) throws(Stop) {
    let library = try context.library
    var orders: [(String, TrainingCall.Order)] = []
    func add(_ what: String, _ change: (inout TrainingCall.Order) -> Void) {
      var changed = order
      change(&changed)
      orders.append((what, changed))
    }
    add("no pages") { $0.pages = [] }
    add("an option that there is not") { $0.option = "no-such-option-here" }
    add("room for no byte") { $0.room = 0 }
    for (what, order) in orders {
      for errorRoom in [256, 8] {
        var order = order
        order.errorRoom = errorRoom
        let call = TrainingCall(library, order)
        judge(call, order, option, context)
        context.check(call.status < 0, "train() with \(what) returns \(call.status): no error")
      }
    }
    // These may do.
    let least = Options.range(option).lowerBound
    for (pages, room) in [
      (order.pages.count, 1), (order.pages.count, least), (order.pageSize, order.room),
    ] {
      var order = order
      order.pages = Array(order.pages.prefix(pages))
      order.room = room
      judge(TrainingCall(library, order), order, option, context)
    }
  }

  /// A file within its room and the option's range, or an error with a reason.
  @discardableResult
  private static func judge(
    _ call: TrainingCall, _ order: TrainingCall.Order, _ option: OptionEntry, _ context: Context
  ) -> Bool {
    let what =
      "train() of \(order.pages.count / order.pageSize) pages with \(order.room) bytes of room"
    var isRight = true
    func check(_ condition: Bool, _ text: String) {
      guard !condition else { return }
      isRight = false
      context.fail("\(what) \(text)")
    }
    check(call.isInRoom, "writes behind its room")
    check(call.status != 0, "returns 0: neither bytes nor an error")
    if call.status > 0 {
      check(call.status <= Int64(order.room), "returns \(call.status)")
      if order.room >= Options.range(option).lowerBound {
        check(
          call.status >= Int64(Options.range(option).lowerBound),
          "returns \(call.status), and a file has \(option.minimum) bytes at least")
      }
    } else if call.status < 0 {
      check(
        call.status >= Int64(MULTIFD_ERROR_INTERNAL),
        "returns \(call.status), which the header does not know")
      check(call.reason != nil && call.reason != "", "fails and gives no reason")
      let isOneLine = !(call.reason ?? "").unicodeScalars.contains { $0.value < 0x20 }
      check(isOneLine, "gives a reason that is not one line: '\(clean(call.reason ?? ""))'")
    }
    return isRight
  }
}
