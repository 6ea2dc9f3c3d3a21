/* Writes down every field that it gets, a line per message, for the tests; the same lines as fields.rs. */
#include <netconsd.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *stream;
static char *written, *taken;
static size_t length;

static void hex(const void *bytes, size_t count)
{
	for (size_t index = 0; index < count; index++)
		fprintf(stream, "%02x", ((const unsigned char *)bytes)[index]);
}

static void datagram(const struct msg_buf *buf)
{
	fprintf(stream, " buf next=%d base=%td iov_len=%zu family=%d port=%d flowinfo=%u scope=%u addr=",
		buf->next != NULL, (char *)buf->iovec.iov_base - buf->buf, buf->iovec.iov_len,
		buf->src.sin6_family == AF_INET6 ? 6 : -1, ntohs(buf->src.sin6_port), buf->src.sin6_flowinfo,
		buf->src.sin6_scope_id);
	hex(&buf->src.sin6_addr, 16);
	fprintf(stream, " time=%" PRIu64 " flags=%s bytes=%d text=", buf->rcv_time,
		buf->rcv_flags == 0 ? "0" : buf->rcv_flags == MSG_TRUNC ? "trunc" : "?", buf->rcv_bytes);
	hex(buf->buf, buf->rcv_bytes + 1);
}

static void record(const struct ncrx_msg *msg)
{
	fprintf(stream, " msg seq=%" PRIu64 " ts_usec=%" PRIu64 " text=%td,%d,", msg->seq, msg->ts_usec,
		msg->text - msg->buf, msg->text_len);
	hex(msg->text, msg->text_len + 1);
	if (msg->dict) {
		fprintf(stream, " dict=%td,%d,", msg->dict - msg->buf, msg->dict_len);
		hex(msg->dict, msg->dict_len + 1);
	} else {
		fprintf(stream, " dict=null,%d", msg->dict_len);
	}
	fprintf(stream, " facility=%d level=%d cont_start=%d cont=%d oos=%d seq_reset=%d node=%d,%d", msg->facility,
		msg->level, msg->cont_start, msg->cont, msg->oos, msg->seq_reset, msg->node.next == &msg->node,
		msg->node.prev == &msg->node);
	fprintf(stream, " mono=%" PRIu64 " real=%" PRIu64 " ncfrag=%d,%d,%d emg=%d version=", msg->rx_at_mono,
		msg->rx_at_real, msg->ncfrag_off, msg->ncfrag_len, msg->ncfrag_left, msg->emg);
	hex(msg->version, sizeof(msg->version));
}

void netconsd_output_handler(int worker, struct in6_addr *src, struct msg_buf *buf, struct ncrx_msg *msg)
{
	pthread_mutex_lock(&lock);
	if (!stream)
		stream = open_memstream(&written, &length);
	fprintf(stream, "worker=%d src=", worker);
	hex(src, 16);
	if (buf)
		datagram(buf);
	if (msg)
		record(msg);
	fputc('\n', stream);
	pthread_mutex_unlock(&lock);
}

/* What was written since the last call. */
const char *fields_taken(void)
{
	pthread_mutex_lock(&lock);
	free(taken);
	taken = NULL;
	if (stream) {
		fclose(stream);
		taken = written;
		stream = NULL;
	}
	pthread_mutex_unlock(&lock);
	return taken ? taken : "";
}
