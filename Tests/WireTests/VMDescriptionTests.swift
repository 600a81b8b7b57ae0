import Testing
import Wire

@Suite("VM description")
struct VMDescriptionTests {
  private func decode(_ json: String, maxDevices: Int = 10) throws -> VMDescription {
    try Array(json.utf8).withUnsafeBytes {
      try VMDescription(decoding: $0, at: 1000, maxDevices: maxDevices)
    }
  }

  @Test("Sizes are fields, arrays and subsections; structs are in their field's size")
  func sizes() throws {
    let description = try decode(
      """
      {"configuration": {"vmsd_name": "configuration", "a": [1, {"b": "}]\\""}], "c": -1.5e3},
       "page_size": 4096, "devices": [
        {"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": [
          {"name": "a", "type": "int64", "size": 8}, {"name": "b", "array_len": 5, "type": "x", "size": 2},
          {"name": "c", "type": "struct", "struct": {"fields": [{"size": 99}]}, "size": 7}]},
        {"name": "rtc", "instance_id": 3, "vmsd_name": "rtc", "version": 1, "fields": [],
         "subsections": [{"vmsd_name": "rtc/x", "version": 1, "fields": [{"name": "d", "size": 4}],
           "subsections": [{"vmsd_name": "rtc/x/y", "version": 1, "fields": [{"size": 1}]}]}]},
        {"name": "old\\"\\/\\\\", "instance_id": 4294967295, "size": 77, "fields": [{"name": "data", "size": 5}]}]}
      """)
    #expect(description.pageSize == 4096)
    // A subsection is a type byte, a counted name and a version, then its fields.
    let inner: UInt64 = 1 + 1 + 7 + 4 + 1
    let outer: UInt64 = 1 + 1 + 5 + 4 + 4 + inner
    let expected: [VMDescription.Device] = [
      .init(name: "timer", instance: 0, version: 2, bodySize: 25),
      .init(name: "rtc", instance: 3, version: 1, bodySize: outer),
      .init(name: "old\"/\\", instance: .max, version: nil, bodySize: 77),
    ]
    #expect(description.devices == expected)
    #expect(try decode("{}").devices.isEmpty)
    #expect(try decode(" { \"devices\" : [ ] } ").devices.isEmpty)
  }

  /// Printed by its beginning and its length: some are long enough to fill a terminal's memory.
  struct Text: Sendable, ExpressibleByStringLiteral, CustomTestStringConvertible {
    let json: String

    init(_ json: String) { self.json = json }
    init(stringLiteral json: String) { self.json = json }

    var testDescription: String {
      json.utf8.count <= 100 ? json : "\(json.prefix(60))… (\(json.utf8.count) bytes)"
    }
  }

  @Test(
    "What is no description is refused",
    arguments: [
      "", "[]", "{", "{}x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":[}", "{\"a\":\"", "{\"a",
      "{\"a\":\"\\", "{\"devices\":{}}", "{\"devices\":[1]}", "{\"devices\":[{}]}",
      "{\"devices\":[{\"name\":1}]}", "{\"devices\":[{\"name\":\"\\u0041\"}]}",
      "{\"devices\":[{\"name\":\"a\",\"instance_id\":4294967296}]}",
      "{\"devices\":[{\"name\":\"a\",\"instance_id\":-1}]}",
      "{\"devices\":[{\"name\":\"a\",\"size\":18446744073709551616}]}",
      "{\"devices\":[{\"name\":\"a\",\"fields\":[{\"size\":9223372036854775808,\"array_len\":2}]}]}",
      "{\"devices\":[{\"name\":\"a\",\"fields\":[{\"size\":18446744073709551615},{\"size\":1}]}]}",
      "{\"page_size\":\"4096\"}", Text("{\"x\":" + String(repeating: "[", count: 100_000)),
      Text(
        "{\"devices\":[{\"name\":\"a\"," + String(repeating: "\"subsections\":[{", count: 100_000)),
    ] as [Text])
  func refused(text: Text) {
    let json = text.json
    let error = #expect(throws: WireError.self) { try decode(json) }
    #expect(error?.code == .badDescription)
    #expect(error.map { $0.offset >= 1000 && $0.offset <= 1000 + UInt64(json.utf8.count) } == true)
  }

  @Test("No more devices than allowed")
  func limit() {
    let devices = String(repeating: "{\"name\":\"a\"},", count: 3).dropLast()
    let json = "{\"devices\":[\(devices)]}"
    #expect(throws: Never.self) { try decode(json, maxDevices: 3) }
    #expect(throws: WireError.self) { try decode(json, maxDevices: 2) }
  }

  @Test("It finds a split that is wrong, and repairs it")
  func repair() throws {
    // A body that holds its footer and a plausible section: the footers alone are deceived.
    let trap = bytes("7e 00000003 04 00000004 01 41 00000000 00000000")
    var blob = StreamEncoder()
    blob.beginSection(.full, id: 3, name: "trap", instance: 0, version: 1)
    blob.raw(trap)
    blob.footer(id: 3)
    blob.beginSection(.full, id: 4, name: "b", instance: 0, version: 1)
    blob.footer(id: 4)
    blob.eof()
    let description = try decode(
      """
      {"devices": [{"name": "early", "instance_id": 0, "size": 5},
        {"name": "trap", "instance_id": 0, "size": \(trap.count)}, {"name": "b", "instance_id": 0}]}
      """)
    let wrong = try decode("{\"devices\": [{\"name\": \"trap\", \"size\": 3}]}")
    try blob.bytes.withUnsafeBytes { bytes in
      let deceived = try? DeviceStateScanner.split(bytes)
      #expect(deceived?.map(\.header.name) != ["trap", "b"])
      let split = try DeviceStateScanner.split(bytes, by: description)
      #expect(split.map(\.header.name) == ["trap", "b"])
      #expect(split.map(\.body.count) == [trap.count, 0])
      #expect(throws: WireError.self) { try DeviceStateScanner.split(bytes, by: wrong) }
      let sections = split.map {
        (header: $0.header, bodySize: $0.body.count, position: UInt64($0.range.lowerBound))
      }
      #expect(throws: WireError.self) { try description.verify(sections) }
      var late = description
      late.devices.removeFirst()
      try late.verify(sections)
      late.devices[1].bodySize = 1
      let error = #expect(throws: WireError.self) { try late.verify(sections) }
      #expect(error?.code == .mismatch && error?.offset == sections[1].position)
    }
  }
}
