/* The program around one network: brings the golden inputs and compares the outputs.
 *
 * The build writes subject.h: it includes the export's headers and gives its names the prefixes
 * NET_ and net_. Without NET_MEASURED the program is empty: what it takes is the rig's own.
 */
#include "rig.h"

#ifdef NET_MEASURED
#include "subject.h"

static net_t net;
static net_output_t output[NET_OUTPUT_SIZE];

int32_t bench_cases(void)
{
    net_init(&net);
    return NET_CASES;
}

void bench_prepare(int32_t position)
{
    net_input_t *const input = net_input(&net);

    for (int32_t i = 0; i < NET_INPUT_SIZE; i++) {
        input[i] = net_golden_input[(position * NET_INPUT_SIZE) + i];
    }
}

void bench_infer(void)
{
    net_run(&net, net_input(&net), output);
}

int32_t bench_wrong(int32_t position)
{
    int32_t wrong = 0;

    for (int32_t i = 0; i < NET_OUTPUT_SIZE; i++) {
        if (output[i] != net_golden_output[(position * NET_OUTPUT_SIZE) + i]) {
            wrong++;
        }
    }
    return wrong;
}

#else

int32_t bench_cases(void)
{
    return 1;
}

void bench_prepare(int32_t position)
{
    (void)position;
}

void bench_infer(void)
{
}

int32_t bench_wrong(int32_t position)
{
    (void)position;
    return 0;
}

#endif
