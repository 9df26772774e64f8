"""The door to Oniguruma (libonig 6.9), the reference engine: only what flowd calls."""

cdef extern from "oniguruma.h" nogil:
    ctypedef unsigned char OnigUChar
    ctypedef unsigned int OnigOptionType

    ctypedef struct OnigEncodingType:
        pass
    ctypedef OnigEncodingType* OnigEncoding

    ctypedef struct OnigSyntaxType:
        unsigned int op
        unsigned int op2
        unsigned int behavior
        OnigOptionType options

    ctypedef struct OnigErrorInfo:
        OnigUChar* par
        OnigUChar* par_end

    ctypedef struct OnigRegion:
        int num_regs
        int* beg
        int* end

    ctypedef struct OnigMatchParam:
        pass
    ctypedef struct re_pattern_buffer:
        pass
    ctypedef re_pattern_buffer* OnigRegex

    OnigEncodingType OnigEncodingUTF8
    OnigSyntaxType OnigSyntaxRuby

    int ONIG_NORMAL
    int ONIG_MISMATCH
    int ONIG_MAX_ERROR_MESSAGE_LEN
    OnigOptionType ONIG_OPTION_NONE

    const char* onig_version()
    int onig_initialize(OnigEncoding* encodings, int n)
    int onig_new(OnigRegex* regex, const OnigUChar* pattern, const OnigUChar* pattern_end, OnigOptionType options,
                 OnigEncoding encoding, OnigSyntaxType* syntax, OnigErrorInfo* info)
    void onig_free(OnigRegex regex)
    int onig_error_code_to_str(OnigUChar* text, int code, ...)
    OnigMatchParam* onig_new_match_param()
    void onig_free_match_param(OnigMatchParam* param)
    int onig_initialize_match_param(OnigMatchParam* param)
    int onig_set_retry_limit_in_match_of_match_param(OnigMatchParam* param, unsigned long limit)
    int onig_set_retry_limit_in_search_of_match_param(OnigMatchParam* param, unsigned long limit)
    int onig_set_match_stack_limit_size_of_match_param(OnigMatchParam* param, unsigned int limit)
    int onig_search_with_param(OnigRegex regex, const OnigUChar* text, const OnigUChar* text_end,
                               const OnigUChar* start, const OnigUChar* range_end, OnigRegion* region,
                               OnigOptionType option, OnigMatchParam* param)
