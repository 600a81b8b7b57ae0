/// Whose the memory backends of a QEMU command are: its machine's, or a device's.
struct MemoryUses {
  /// `-machine memory-backend=`.
  private(set) var machineNamesBackend = false
  /// Backends by id whose device is more than memory.
  private var devices: Set<String> = []

  init(_ command: [String]) {
    for (argument, value) in zip(command, command.dropFirst()) {
      switch argument {
      case "-machine", "-M", "--machine", "--M":
        if QEMUCommandLine.fields(value).contains(where: { $0.hasPrefix("memory-backend=") }) {
          machineNamesBackend = true
        }
      case "-device", "--device": take(device: value)
      default: break
      }
    }
  }

  private mutating func take(device value: String) {
    var (driver, backend): (String?, String?)
    if value.hasPrefix("{") {
      let object = QEMUCommandLine.json(value) ?? [:]
      (driver, backend) = (object["driver"] as? String, object["memdev"] as? String)
    } else {
      let fields = QEMUCommandLine.fields(value)
      func text(_ key: String) -> String? {
        fields.first { $0.hasPrefix(key + "=") }.map { String($0.dropFirst(key.count + 1)) }
      }
      (driver, backend) = (text("driver") ?? fields.first, text("memdev"))
    }
    // A DIMM is nothing but its memory. Of any other device nobody knows what it does to it.
    if let backend, driver != "pc-dimm" { devices.insert(backend) }
  }

  /// Whether the backend is used by a device that is more than memory.
  func belongsToDevice(_ id: String) -> Bool { devices.contains(id) }
}
