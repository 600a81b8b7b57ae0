/* expect: nothing */
/* Good: the bytes of pages stay where they are, in guest memory. */
#include "prelude.h"
#define CAPS (MULTIFD_CAP_INDEPENDENT | MULTIFD_CAP_DETERMINISTIC | MULTIFD_CAP_ZERO_COPY)
static int32_t in_place(MultiFDSendParams *p);
#define SEND_PREPARE in_place
#define BOUND(size, count) ((count) == 0 ? 0 : (uint64_t)(count) * (size) + 1)
#define BUFFER_SIZE(p) ((uint64_t)(p)->page_count * ((uint64_t)(p)->page_size + 1))
#define RECV in_place_recv
static int32_t in_place_recv(MultiFDRecvParams *p);
#include "base.h"
/* A byte, then the pages. */
static int32_t in_place(MultiFDSendParams *p) {
  State *s = p->compress_data;
  if (p->normal_num == 0) return MULTIFD_OK;
  s->buffer[0] = 0x5a;
  p->iov[0].iov_base = s->buffer;
  p->iov[0].iov_len = 1;
  for (uint32_t i = 0; i < p->normal_num; i++) {
    p->iov[i + 1].iov_base = (void *)(p->host + p->normal[i]);
    p->iov[i + 1].iov_len = p->page_size;
  }
  p->iovs_num = p->normal_num + 1;
  p->next_packet_size = 1 + p->normal_num * p->page_size;
  return MULTIFD_OK;
}
static int32_t in_place_recv(MultiFDRecvParams *p) {
  if (p->normal_num == 0) return p->next_packet_size == 0 ? MULTIFD_OK : corrupt(p, "too long");
  if (p->next_packet_size != 1 + (uint64_t)p->normal_num * p->page_size) return corrupt(p, "wrong size");
  uint8_t first;
  int32_t status = p->services->read(p->channel, &first, 1);
  if (status == MULTIFD_OK && first != 0x5a) return corrupt(p, "not this format");
  for (uint32_t i = 0; i < p->normal_num && status == MULTIFD_OK; i++) {
    const MultiFDIOVec piece = {p->host + p->normal[i], p->page_size};
    status = p->services->readv(p->channel, &piece, 1);
  }
  return status;
}
