import PluginAPI
import PluginLoader

/// `options/other-file`: the host sees to it that both sides have the same file, but a peer may say
/// so and send something else. What it sends is then an error, or whatever pages.
enum OtherFile {
  @Sendable static func check(_ context: Context) throws(Stop) {
    let library = try context.library
    let options = library.options.filter { $0.type == MULTIFD_OPTION_FILE }
    if options.isEmpty { throw .skipped("no option is a file") }
    if !library.has(.receive) { throw .skipped("it does not decode") }
    var tried = 0
    for option in options {
      guard let name = option.name else { continue }
      var files: [String] = []
      for number in 1...2 {
        if let file = try Options.trained(option, context, number) { files.append(file) }
      }
      for file in Options.random(option) where files.count < 3 { files.append(file) }
      files = try working(files, name, context)
      for sent in files {
        for received in files + [""] where received != sent {
          try decode(with(name, sent, context), with(name, received, context))
          tried += 1
        }
      }
    }
    if tried == 0 { throw .skipped("it takes no file that the harness can make") }
  }

  private static func with(_ name: String, _ file: String, _ context: Context) -> Context {
    context.with(context.order.options.merging([name: file]) { $1 })
  }

  private static func working(
    _ files: [String], _ name: String, _ context: Context
  ) throws(Stop) -> [String] {
    var working: [String] = []
    for file in files {
      let options = context.order.options.merging([name: file]) { $1 }
      if try Options.holds(options, context) { working.append(file) }
    }
    return working
  }

  /// Packets of one side, whole and spoilt, at another.
  private static func decode(_ sending: Context, _ receiving: Context) throws(Stop) {
    let attack = try Attack(sending)
    var random = sending.random("spoilt")
    for (number, packet) in attack.packets.enumerated() {
      for round in 0..<4 {
        let receiver = try ReceiveDriver(receiving, attack.shape)
        try receiving.require(receiver.setup.isOK, "recv_setup() returns \(receiver.setup)")
        receiver.remembers = true
        var payload = packet.payload
        if round > 0, let place = payload.indices.randomElement(using: &random) {
          payload[place] ^= UInt8.random(in: 1...255, using: &random)
        }
        attack.hit(receiver, payload, packet.offsets, "packet \(number) of another file")
      }
    }
  }
}
