import Roles
import Testing
import Transport

/// What QEMU is told, in which order.
@Suite("A pair of redirectors")
struct RedirectorsTests {
  @Test("In and out")
  func order() throws {
    let pair = Redirectors(net: "hn0", number: 3, folder: "/run/x")
    #expect(
      (pair.sockets + pair.filters + pair.release + pair.rest).map(Self.words) == [
        "chardev-add multifd-packets-3-from", "chardev-add multifd-packets-3-to",
        "object-add multifd-packets-3-out", "object-add multifd-packets-3-catch",
        "object-del multifd-packets-3-catch", "object-del multifd-packets-3-out",
        "chardev-remove multifd-packets-3-to", "chardev-remove multifd-packets-3-from",
      ])
    #expect(pair.from == .unix(path: "/run/x/packets-3-from"))
    #expect(pair.filters[0].arguments["indev"] as? String == "multifd-packets-3-to")
    #expect(pair.filters[1].arguments["outdev"] as? String == "multifd-packets-3-from")
    #expect(pair.filters.allSatisfy { $0.arguments["vnet_hdr_support"] as? Bool == true })
  }

  @Test("What others have left is taken out, and nothing else")
  func leftovers() {
    let objects = [
      "type", "pc.ram", "multifd-packets-2-out", "multifd-packets-2-catch",
      "multifd-packets-7-out", "multifd-packets-7-catch", "multifd-packets-x-out",
      "multifd-packets--catch", "my-multifd-packets-1-catch", "multifd-packets-4-catch",
    ]
    let chardevs = [
      "ser", "multifd-packets-2-to", "multifd-packets-2-from", "multifd-packets-7-to",
      "multifd-packets-9-from",
    ]
    #expect(Redirectors.nextNumber(objects + chardevs) == 10)
    #expect(Redirectors.nextNumber(["type"]) == 1)
    #expect(
      Redirectors.leftovers(objects: objects, chardevs: chardevs, but: [7]).map(Self.words) == [
        "object-del multifd-packets-2-catch", "object-del multifd-packets-4-catch",
        "object-del multifd-packets-2-out", "chardev-remove multifd-packets-2-to",
        "chardev-remove multifd-packets-2-from", "chardev-remove multifd-packets-9-from",
      ])
  }

  @Test("The folders of what others have left, and of nothing else")
  func folders() {
    let files = [
      "ser": "unix:/run/packets-1-to,server=on",
      "multifd-packets-1-to": "disconnected:unix:/tmp/multifd-a1B2c3/packets-1-to,server=on",
      "multifd-packets-1-from": "unix:/tmp/multifd-a1B2c3/packets-1-from,server=on <-> unix:@",
      "multifd-packets-2-to": "disconnected:unix:/tmp/multifd-bbbbbb/packets-2-to,server=on",
      "multifd-packets-3-to": "unix:/tmp/elsewhere/packets-2-to,server=on",
      "multifd-packets-6-to": "unix:/srv/empty/packets-6-to,server=on",
      "multifd-packets-7-to": "unix:/tmp/multifd-a1B2c3/x/packets-7-to,server=on",
      "multifd-packets-4-to": "vc", "multifd-packets-5-to": "unix:/packets-5-to,server=on",
    ]
    #expect(Redirectors.folders(of: files, but: [2]) == ["/tmp/multifd-a1B2c3"])
    #expect(Redirectors.folders(of: files) == ["/tmp/multifd-a1B2c3", "/tmp/multifd-bbbbbb"])
  }

  private static func words(_ command: Redirectors.Command) -> String {
    "\(command.name) \(command.arguments["id"] as? String ?? "")"
  }
}
